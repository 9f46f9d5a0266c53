# Makes one package of nixpkgs' layout out of Debian's: unpack, move to where nixpkgs has things, and link each program
# with loader and libraries in the store.
# debs: files to unpack; libraries: packages to link with; finish: what else this package needs; propagated: see below
applets=$TMPDIR/applets
$tools/bin/busybox mkdir $applets
$tools/bin/busybox --install -s $applets
export PATH=$applets
patchelf() { $tools/lib/ld-linux-x86-64.so.2 --library-path $tools/lib $tools/bin/patchelf "$@"; }

unpacked=$TMPDIR/unpacked
mkdir $unpacked
for deb in $debs; do
  mkdir $TMPDIR/deb
  cd $TMPDIR/deb
  ar x $deb
  unxz -c data.tar.xz | tar -x -C $unpacked -f -
  cd $TMPDIR
  rm -r $TMPDIR/deb
done

# Debian's many folders become nixpkgs' few. The link /lib64/ld-linux-x86-64.so.2 would replace the loader itself.
cd $unpacked
rm -rf lib64 usr/lib64
rm -rf usr/share/doc usr/share/man usr/share/info usr/share/lintian usr/share/bug usr/share/locale
rm -rf usr/share/doc-base usr/share/menu usr/share/applications usr/share/pixmaps usr/share/bash-completion
rm -rf etc/init.d etc/default etc/logrotate.d etc/ufw lib/systemd usr/lib/systemd lib/udev
mkdir $out
gather() { # the content of folder $1, if there is any, goes to $out/$2
  if [ -d "$1" ] && [ ! -L "$1" ]; then
    mkdir -p $out/$2
    cp -a "$1/." $out/$2/
    rm -rf "$1"
  fi
}
for folder in lib/x86_64-linux-gnu usr/lib/x86_64-linux-gnu lib usr/lib; do gather $folder lib; done
# Debian chooses among these at installation; here there is one of each.
for folder in blas lapack; do gather $out/lib/$folder lib; done
for folder in bin sbin usr/bin usr/sbin; do gather $folder bin; done
gather usr/include include
gather usr/share share
gather etc etc
chmod -R u+w $out

# Links that named a place of Debian's follow what they pointed to; those whose target is no part of this package go.
find $out -type l | while read -r link; do
  target=$(readlink "$link")
  case $target in
    /*)
      inside=$out$(echo "$target" | sed -e 's,^/usr/,/,' -e 's,^/lib/x86_64-linux-gnu/,/lib/,' -e 's,^/lib64/,/lib/,' -e 's,^/sbin/,/bin/,')
      ln -sfn "$inside" "$link"
      ;;
  esac
  [ -e "$link" ] || rm "$link"
done

[ -z "$finish" ] || . $finish

libc=
rpath=$out/lib
for library in $libraries; do
  case $library in *-libc6-*) libc=$library ;; esac
  rpath=$rpath:$library/lib
done
is_elf() { [ "$(head -c 4 "$1" | tail -c 3)" = ELF ]; }
# libc's own objects find each other through the loader, which must not be changed at all.
if [ -n "$libc" ]; then
  find $out -type f -size +0 \( -name '*.so' -o -name '*.so.*' -o -perm /111 \) | while read -r object; do
    is_elf "$object" || continue
    if patchelf --print-interpreter "$object" >/dev/null 2>&1; then
      patchelf --set-interpreter $libc/lib/ld-linux-x86-64.so.2 "$object"
    fi
    # In two calls: patchelf shrinks the rpath that a file has, not the one that it is about to get.
    patchelf --set-rpath $rpath "$object"
    patchelf --shrink-rpath "$object"
  done
fi

# What whoever uses this package must have beside it, in the file that nixpkgs uses for it.
if [ -n "$propagated" ]; then
  mkdir -p $out/nix-support
  printf '%s ' $propagated >$out/nix-support/propagated-build-inputs
fi

# Nobody can write compiled modules beside the sources later.
if [ -n "${compile_with:-}" ]; then
  PYTHONDONTWRITEBYTECODE=1 $compile_with -m compileall -q -f --invalidation-mode unchecked-hash $out/lib/python3.11
fi
find $out -depth -type d -empty -exec rmdir {} \;
[ -d $out ] || mkdir $out
