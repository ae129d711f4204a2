# shellcheck shell=bash disable=SC2034 # settings are used by those who source this
#
# Where everything lies, which versions are built, and the few functions that
# all commands here share. Sourced by them; changes nothing by itself.

set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# CLUSTER_DIR holds all that is built and all that runs write. It must not lie
# under /run, which the node hides behind a file system of its own.
CLUSTER_DIR=${CLUSTER_DIR:-/var/tmp/fairlead-cluster}
# Binaries may be shared by several clusters.
CLUSTER_BIN=${CLUSTER_BIN:-$CLUSTER_DIR/bin}
# CLUSTER_NAME names the two network namespaces: NAME-node and NAME-outside.
CLUSTER_NAME=${CLUSTER_NAME:-fairlead}
# Further flags for the API server, for example --runtime-config=... .
APISERVER_ARGS=${APISERVER_ARGS:-}
# What 1.37 has off by default and tests want: tokens by which callers show themselves to webhooks (KEP-6060).
APISERVER_GATES=${APISERVER_GATES-APIServerWebhookAuthenticationToken=true}
# nftables or iptables.
PROXY_MODE=${PROXY_MODE:-nftables}
# The low-level container runtime: a name in PATH, in $RUNTIME_BIN or in $BIN.
OCI_RUNTIME=${OCI_RUNTIME:-runc}

BIN=$CLUSTER_BIN          # built once, kept by `down`
PKI=$CLUSTER_DIR/pki      # made once
NODE=$CLUSTER_DIR/node    # the node's disk: bind-mounted to the usual places
RUN=$CLUSTER_DIR/run      # pids of the running cluster
LOG=$CLUSTER_DIR/log      # one file per component
KUBECONFIG_ADMIN=$CLUSTER_DIR/kubeconfig

# The node's own network. 198.51.100.0/24 is set aside for documentation
# (RFC 5737), so it cannot be mistaken for a real peer.
NODE_NAME=node
NODE_IP=198.51.100.2
OUTSIDE_IP=198.51.100.1
POD_CIDR=10.244.0.0/16
SERVICE_CIDR=10.96.0.0/16
DNS_IP=10.96.0.10

# No registry is asked: these are made here and given to containerd.
PAUSE_IMAGE=fairlead.local/pause:3.10.2
COREDNS_IMAGE=fairlead.local/coredns:1.14.7
BUSYBOX_IMAGE=fairlead.local/busybox:1.35

GO_MINIMUM=1.26.6

# Paths of the node that are its own; the rest of its file system is the machine's.
NODE_PATHS="/var/lib/kubelet /var/lib/containerd /var/lib/cni /var/log/pods /var/log/containers
/etc/cni/net.d /opt/cni/bin"
MACHINE_SYSCTLS="vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops
kernel.keys.root_maxkeys kernel.keys.root_maxbytes fs.inotify.max_user_instances"
# The kernel's own 128 are for the whole machine; a cluster takes 18, and each `kubectl logs -f` one more.
INOTIFY_INSTANCES=1024
COMPONENTS="etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet kube-proxy"

die() { echo "$(basename "$0"): $*" >&2; exit 1; }
say() { echo "$(basename "$0"): $*" >&2; }

# The node's pid 1, when it runs.
node_pid() {
  local pid
  pid=$(cat "$RUN/node.pid" 2>/dev/null) || return 1
  # A recorded number may have been given to somebody else since.
  [ "$(readlink "/proc/$pid/exe" 2>/dev/null)" = "$BIN/pause" ] && echo "$pid"
}

# Whose containerd, runc and CNI plugins the node has: `built` from Go modules, or `debian`'s of Debian 12 (containerd 1.6,
# runc 1.1, CNI plugins 1.1: no user namespaces, no CNI 1.1), unpacked beside the built ones and never installed. A cluster
# that is up keeps the one that it has.
if node_pid >/dev/null; then RUNTIME=$(cat "$RUN/runtime" 2>/dev/null) || true; fi
RUNTIME=${RUNTIME:-built}
case $RUNTIME in
  built) RUNTIME_BIN=$BIN CNI_VERSION=1.1.0 ;;
  debian) RUNTIME_BIN=$BIN/debian CNI_VERSION=1.0.0 ;;
  *) echo "RUNTIME is built or debian, not $RUNTIME" >&2; exit 1 ;;
esac

# Run a command on the node: its network, mounts, pids and host name.
in_node() {
  local pid
  pid=$(node_pid) || die "the cluster is not up"
  nsenter --target "$pid" --net --mount --pid --uts --ipc -- "$@"
}

# Run a command in the node's network, on the caller's own file system and pids.
in_node_net() { nsenter --net="/run/netns/$CLUSTER_NAME-node" -- "$@"; }

# start NAME ARGUMENTS...: a component on the node; `restart` starts it once more as it was.
start() {
  local name=$1 pid program=$BIN/$1
  pid=$(node_pid)
  shift
  [ ! -x "$RUNTIME_BIN/$name" ] || program=$RUNTIME_BIN/$name
  printf '%s\0' "$@" >"$RUN/$name.command"
  PATH=$RUNTIME_BIN:$BIN:$PATH setsid nsenter --target "$pid" --net --mount --pid --uts --ipc -- \
    "$program" "$@" </dev/null >>"$LOG/$name.log" 2>&1 &
  echo $! >"$RUN/$name.nsenter"
}

# The process that `nsenter --pid` or `unshare --fork` started. The kernel gives
# no list of children where it is built without CONFIG_PROC_CHILDREN.
child_of() { ps -o pid= --ppid "$1" | tr -d ' '; }

# Every mounted cgroup hierarchy: one in version 2, one per controller in version 1, both when hybrid.
cgroup_hierarchies() { awk '$3 ~ /^cgroup2?$/ { print $2 }' /proc/mounts; }

# until_true SECONDS WHAT COMMAND...: poll until the command succeeds.
until_true() {
  local limit=$1 what=$2 start=$SECONDS
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $((SECONDS - start)) -lt "$limit" ] || die "timed out after $limit s: $what (see $LOG)"
    sleep 0.2
  done
}

# Replace @NAME@ by the shell variable NAME.
fill() {
  local text name
  text=$(cat "$1")
  for name in $(grep -o '@[A-Z_]*@' "$1" | sort -u | tr -d @); do
    text=${text//@$name@/${!name}}
  done
  printf '%s\n' "$text"
}
