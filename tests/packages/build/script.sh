# Runs the package's own few lines.
applets=$TMPDIR/applets
$tools/bin/busybox mkdir $applets
$tools/bin/busybox --install -s $applets
export PATH=$applets
eval "$text"
