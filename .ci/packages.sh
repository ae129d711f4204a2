# Sourced by quickstart and test: which Debian 12 packages are needed for what, and how they are installed.
# shellcheck shell=bash disable=SC2034 # the lists are used by those who source this

packages_build=(build-essential cmake ninja-build pkg-config libmicrohttpd-dev libgnutls28-dev libcjson-dev libyaml-dev
  libssl-dev libc-ares-dev libmnl-dev libcurl4-openssl-dev libprotobuf-c-dev libnghttp2-dev protobuf-c-compiler protobuf-compiler
  zlib1g-dev libpcre2-dev)
packages_quickstart=(iproute2 nftables containernetworking-plugins nginx-light curl openssl python3 python3-yaml util-linux)
packages_test=(libcmocka-dev python3-grpcio clang-format shellcheck binutils ca-certificates iptables procps musl-tools strace nghttp2-client nghttp2-server)
packages_conformance=(nghttp2-client nghttp2-server wrk haproxy)
packages_cluster=(python3-grpcio gcc binutils ca-certificates libc6-dev libseccomp-dev pkg-config jq curl openssl iproute2 nftables iptables conntrack busybox-static
  procps python3 python3-yaml util-linux)
packages_cross=(gcc-aarch64-linux-gnu binutils-aarch64-linux-gnu qemu-user-static)
# For arm64, unpacked and not installed (cmake/sysroot): what the programs are built against, their tests, and the rest of their images.
packages_sysroot=(libc6-dev libcmocka-dev iptables ca-certificates)
for package in "${packages_build[@]}"; do
  case $package in lib*-dev | zlib1g-dev) packages_sysroot+=("$package") ;; esac
done

# Runs a command as root: directly, or by sudo where we are not root.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# install_packages NAME…: installs by apt-get what is not there yet; says what it does.
install_packages() {
  local name missing=()
  for name in "$@"; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || { echo "apt-get is not here; please install: ${missing[*]}" >&2; return 1; }
  echo "installing Debian packages: ${missing[*]}"
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1; then
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  fi
}
