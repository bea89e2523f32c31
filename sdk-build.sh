#!/bin/bash
# Builds the packages with an OpenWrt SDK, and leaves them and their signed index in bin/.
set -euo pipefail

usage() {
	cat << 'EOF'
usage: ./sdk-build.sh VERSION TARGET         such as ./sdk-build.sh 24.10.4 x86/64
       ./sdk-build.sh --sdk DIR              with an SDK that is unpacked there

The SDK of VERSION for TARGET is downloaded from OpenWrt's server ($OPENWRT_URL, https://downloads.openwrt.org) into
.cache/sdk, and its sum is checked. The packages are for every architecture: any TARGET of the release will do.
.ipk from 24.10 and before, .apk from 25.12 and after, as the SDK makes them.
EOF
}

root=$(cd "$(dirname "$0")" && pwd)
url=${OPENWRT_URL:-https://downloads.openwrt.org}
packages="bgpmesh bgpmesh-python3 bgpmesh-bird2 bgpmesh-bird3 luci-app-bgpmesh luci-i18n-bgpmesh-es python3-etcd"

say() { printf '%4ds  %s\n' "$SECONDS" "$*"; }

# What runs in the background does not hear Ctrl-C.
trap 'kill $(jobs -p) 2> /dev/null; exit 130' INT TERM

die() {
	echo "sdk-build.sh: $*" >&2
	exit 1
}

# Runs a step with its output in a log; shows the last line of that now and then, and its end where the step fails.
step() {
	local what=$1 log
	shift
	log="$root/.cache/sdk/$(echo "$what" | tr -c 'a-z0-9\n' _).log"
	say "$what"
	"$@" > "$log" 2>&1 < /dev/null &
	until timeout 15 tail -f -s 0.1 --pid=$! /dev/null; do say "  … $(tail -n 1 "$log" | cut -c 1-100)"; done
	wait $! || {
		tail -n 25 "$log" >&2
		die "$what failed; all of its output is in $log"
	}
}

# The SDK needs these of the machine.
check_tools() {
	local missing="" pair
	for pair in curl:curl make:make gcc:gcc g++:g++ git:git gawk:gawk python3:python3 rsync:rsync unzip:unzip \
		file:file zstd:zstd xz:xz-utils bzip2:bzip2 perl:perl patch:patch; do
		command -v "${pair%%:*}" > /dev/null || missing="$missing ${pair#*:}"
	done
	[ -z "$missing" ] || die "missing on this machine:$missing; on Debian: apt-get install$missing libncurses-dev"
}

# (version, target): downloads and unpacks; prints nothing, sets $sdk.
get_sdk() {
	local folder="$url/releases/$1/targets/$2" sums archive line
	mkdir -p "$root/.cache/sdk"
	sums="$root/.cache/sdk/sha256sums-$1-${2//\//-}"
	say "asking $folder for the SDK's name and sum"
	curl -fsSL --retry 3 --connect-timeout 20 -o "$sums.new" "$folder/sha256sums" \
		|| die "cannot get $folder/sha256sums: is there a network, and are '$1' and '$2' a release and one of its targets?"
	mv "$sums.new" "$sums"
	line=$(grep -E '[ *]openwrt-sdk-.*\.tar\.(zst|xz)$' "$sums" | head -n 1) \
		|| die "$folder has no SDK: another target of the release has one"
	archive="$root/.cache/sdk/${line##*[ *]}"
	if ! echo "${line%%[ *]*}  $archive" | sha256sum --status -c 2> /dev/null; then
		say "downloading ${archive##*/}"
		curl -fL --retry 3 --connect-timeout 20 --progress-bar -o "$archive.new" "$folder/${archive##*/}" \
			|| die "the download of $folder/${archive##*/} was cut off; run it again"
		echo "${line%%[ *]*}  $archive.new" | sha256sum --status -c \
			|| die "$archive.new has another sum than $folder/sha256sums says: not used; delete it and run again"
		mv "$archive.new" "$archive"
	fi
	sdk="${archive%.tar.*}"
	if [ ! -e "$sdk/rules.mk" ]; then
		say "unpacking it"
		rm -rf "$sdk.new" && mkdir "$sdk.new"
		tar -xf "$archive" -C "$sdk.new" --strip-components=1 || die "cannot unpack $archive: is the disk full?"
		rm -rf "$sdk" && mv "$sdk.new" "$sdk"
	fi
}

# A key of this machine's own signs the index, unless one is there.
make_key() {
	if grep -q '^CONFIG_USE_APK=y' .config; then
		suffix=apk
		[ -e private-key.pem ] || step "making a key" openssl ecparam -name prime256v1 -genkey -noout -out private-key.pem
		[ -e public-key.pem ] || openssl ec -in private-key.pem -pubout > public-key.pem 2> /dev/null
		key='public-key.pem'
	else
		suffix=ipk
		[ -e key-build ] || step "making a key" staging_dir/host/bin/usign -G -s key-build -p key-build.pub -c "bgpmesh"
		key='key-build.pub'
	fi
}

case "${1:-}" in
--sdk)
	[ $# -eq 2 ] || { usage >&2 && exit 2; }
	sdk=$(cd "$2" 2> /dev/null && pwd) || die "there is no folder $2"
	mkdir -p "$root/.cache/sdk"
	;;
-h | --help)
	usage
	exit 0
	;;
*)
	[ $# -eq 2 ] || { usage >&2 && exit 2; }
	get_sdk "$1" "$2"
	;;
esac
for part in rules.mk scripts/feeds feeds.conf.default; do
	[ -e "$sdk/$part" ] || die "$sdk is no OpenWrt SDK: it has no $part"
done

check_tools
cd "$sdk"
{
	cat feeds.conf.default
	echo "src-link bgpmesh $root/package"
} > feeds.conf
step "updating the feeds" scripts/feeds update -a
step "installing the recipes" scripts/feeds install -f -p bgpmesh -a
# Signed packages, and nothing selected but ours, as modules.
{
	echo "CONFIG_SIGNED_PACKAGES=y"
	for package in $packages; do echo "CONFIG_PACKAGE_$package=m"; done
	# A translation cannot be selected, but comes with its language.
	echo "CONFIG_LUCI_LANG_es=m"
} > .config
step "configuring" make defconfig
for package in $packages; do
	grep -q "^CONFIG_PACKAGE_$package=m" .config || die "$package cannot be selected in this SDK: see $sdk/tmp/.config-package.in"
done
make_key
for recipe in bgpmesh luci-app-bgpmesh python3-etcd; do
	step "building $recipe" make "package/$recipe/compile" -j"$(nproc)" V=s
done
step "indexing" make package/index V=s

rm -rf "${root:?}/bin"
mkdir "$root/bin"
for package in $packages; do
	found=$(find bin/packages -name "${package}[_-][0-9]*.$suffix" | head -n 1)
	[ -n "$found" ] || die "the SDK made no $package: see $root/.cache/sdk/*.log"
	cp "$found" "$root/bin/"
done
find bin/packages -path '*/bgpmesh/*' \( -name 'Packages*' -o -name 'packages.adb' -o -name 'index.json' \) -exec cp {} "$root/bin/" \;
cp "$key" "$root/bin/"
say "done:"
ls -l "$root/bin"
