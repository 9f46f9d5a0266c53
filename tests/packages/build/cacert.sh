# One file of all authorities, where nixpkgs has it.
mkdir -p $TMPDIR/ssl/certs
find $out/share/ca-certificates -name '*.crt' | sort | xargs cat >$TMPDIR/ssl/certs/ca-bundle.crt
rm -rf $out/*
mkdir -p $out/etc
cp -a $TMPDIR/ssl $out/etc/ssl
ln -s ca-bundle.crt $out/etc/ssl/certs/ca-certificates.crt
