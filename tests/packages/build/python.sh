# Python without Debian's own ideas of where modules are: they are in site-packages, as everywhere else.
ln -s python3.11 $out/bin/python3
ln -s pydoc3.11 $out/bin/pydoc3
rm -rf $out/share
sed -i -e '1s,^#! *.*python3.*,#!'$out/bin/python3.11',' $out/bin/pydoc3.11 $out/bin/pygettext3.11
sed -i -e 's,"dist-packages","site-packages",' $out/lib/python3.11/site.py
mkdir -p $out/lib/python3.11/site-packages
echo 'Modules of other packages are found through PYTHONPATH.' >$out/lib/python3.11/site-packages/README.txt
compile_with=$out/bin/python3.11
