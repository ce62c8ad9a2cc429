# How recipe.sh and toolset.sh begin, which collect programs for the guest in $OUT (/out).
umask 022

# Of the script that reads this.
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-/out}
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

# copy_program PROGRAM [HAVE]: into $out/sbin, with the libraries that the loader finds for it. Those below HAVE
# are in the guest already.
copy_program() {
    program=$(command -v "$1")
    mkdir -p "$out/sbin"
    install -m 0755 "$program" "$out/sbin/$1"
    strip "$out/sbin/$1"
    # "lib.so => /path (address)" and "/path/of/loader (address)"; the vdso has no path.
    ldd "$program" | sed -n 's/^.*[[:space:]]\(\/[^ ]*\) (0x.*$/\1/p' | while read -r library; do
        [ ! -e "$out$library" ] && [ ! -e "${2-$out}$library" ] || continue
        mkdir -p "$out$(dirname "$library")"
        # Debian has stripped them already.
        install -m 0755 "$(readlink -f "$library")" "$out$library"
    done
}
