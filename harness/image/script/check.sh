
# --- all that goes in: sha256 and name of each file in inputs/ ---

need @programs@
[ -d "$in" ] || die "there is no $in; nothing was made"
mkdir -p "$out" || die "cannot make the directory $out"
@find_xxd@say "checking @count@ files in $in"
new=$out/.checked
wrong=0
(cd "$in" && exec sha256sum -c -) >"$new" 2>&1 <<'END' || wrong=$?
@sums@
END
if [ "$wrong" != 0 ]; then
    grep -v ': OK$' "$new" >&2 || :
    die "these files in $in are missing or are not what they have to be; nothing was made"
fi
rm -f "$new"
