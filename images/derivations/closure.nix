# A closure that has all that a replay has to get right: four derivations, two outputs, a fixed output, references,
# links, placeholders, passAsFile and structured attributes. The builder is a static busybox: --argstr busybox PATH.
{ busybox, system ? "x86_64-linux" }:
let
  tools = builtins.path { path = busybox; name = "tools"; };
  text = builtins.toFile "text" "a text of the store\n";
  build = attributes: script: derivation ({
    inherit system;
    builder = "${tools}/bin/busybox";
    args = [ "sh" "-euc" script ];
    PATH = "${tools}/bin";
  } // attributes);

  # Its content is known beforehand, by the hash of its NAR.
  fixed = build {
    name = "fixed";
    outputHashMode = "recursive";
    outputHash = "sha256-3A2sBZEiUeDGh0uvfVQFR4JGh7Yc304lJTM3Yh+kPOs=";
    inherit text;
  } ''
    busybox mkdir -p $out/a/empty
    busybox cp $text $out/a/text
    busybox ln -s a/text $out/link
    printf '#!/bin/sh\n' > $out/program
    busybox chmod 755 $out/program
  '';

  # Two outputs, of which one refers to the other and to its input; a value comes as a file.
  two = build {
    name = "two-1.0+x";
    outputs = [ "out" "lib" ];
    inherit fixed;
    words = "as a \"file\":\t$words\\n\nüñ, second line";
    passAsFile = [ "words" ];
    place = builtins.placeholder "lib";
  } ''
    busybox mkdir $out $lib
    busybox cp "$wordsPath" $out/words
    test "$place" = "$lib" && test -z "''${words+set}"
    test "$(busybox basename "$wordsPath")" != words
    echo "$lib $fixed" > $out/references
    busybox ln -s $fixed/program $lib/program
    busybox sha256sum < $out/words > $lib/sum
    cd $NIX_BUILD_TOP && test "$PWD" = "$TMPDIR"
    echo "$HOME $PATH $NIX_STORE $name" | busybox sed s,/nix/store,STORE,g > $lib/environment
  '';

  # Its attributes come as .attrs.json and .attrs.sh.
  structured = derivation {
    name = "structured";
    inherit system;
    builder = "${tools}/bin/busybox";
    args = [ "sh" "-euc" ''
      busybox=${tools}/bin/busybox
      out=$($busybox sed -n 's/.*"outputs":{"out":"\([^"]*\)"}.*/\1/p' "$NIX_ATTRS_JSON_FILE")
      $busybox mkdir $out
      $busybox cp "$NIX_ATTRS_JSON_FILE" $out/json
      $busybox cp "$NIX_ATTRS_SH_FILE" $out/sh
      $busybox basename "$NIX_ATTRS_SH_FILE" > $out/name
    '' ];
    __structuredAttrs = true;
    list = [ "it's" 2 true ];
    table = { a = "b c"; "x-y" = 1.5; n = null; };
    number = -3;
    here = "${two.lib} \${x} ü";
    nothing = null;
    no = false;
    mixed = [ [ 1 ] 2 ];
    "not-a-variable" = "left out";
  };
  # All that the daemon gives to a builder; how many cores that are is the host's.
  environment = build { name = "environment"; } ''
    busybox env | busybox grep -v NIX_BUILD_CORES | busybox sort > $out
    busybox ls -A >> $out
    umask >> $out
  '';
in
# All of them; one output has the times and modes of its inputs, which the store makes equal.
build {
  name = "all";
  inherit environment structured two;
  lib = two.lib;
} ''
  busybox cat $environment $two/words $lib/sum $lib/environment $structured/sh > $out
  busybox stat -c '%a %Y %F' $lib/sum $two $two/references >> $out
  busybox cat $lib/program $two/references >> $out
''
