# Added by the harness (--instrument): a bash on the console, for its checks. Then the tree goes on.
. /steps/bootstrap.cfg
export PATH=/usr/bin:/usr/sbin:/bin:/sbin HOME=/root TERM=dumb
mkdir -p /root /tmp
cd /root
if [ "$CHROOT" = True ]; then
    # The terminal that controls all processes here.
    console=/dev/tty session=
else
    console=/dev/ttyS0
    [ -c $console ] || mknod -m 600 $console c 4 64
    # A session of its own, whose leader opens the terminal, has Ctrl-C.
    session=$(command -v setsid)
fi
echo 'harness: instrumented: a shell for the checks'
$session bash -c "exec env PS1='instrumented# ' bash --norc --noprofile -i <$console >$console 2>&1" || :
