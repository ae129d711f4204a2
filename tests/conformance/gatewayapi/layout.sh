# shellcheck shell=bash disable=SC2034 # settings are used by those who source this
#
# Where everything lies. Sourced by all commands here; changes nothing by itself.

set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# CONFORMANCE_DIR holds all that is built and every run's log and report.
CONFORMANCE_DIR=${CONFORMANCE_DIR:-/var/tmp/fairlead-conformance}
BIN=$CONFORMANCE_DIR/bin
IMAGES=$CONFORMANCE_DIR/image   # files of images that are more than one program
CRDS=$CONFORMANCE_DIR/crds     # standard/ and experimental/
REPORTS=$CONFORMANCE_DIR/report # one folder per run

# The cluster that is used unless `run` is given another one; the same settings as in tests/cluster.
CLUSTER=$HERE/../../cluster
CLUSTER_DIR=${CLUSTER_DIR:-/var/tmp/fairlead-cluster}
CLUSTER_BIN=${CLUSTER_BIN:-$CLUSTER_DIR/bin}
CLUSTER_NAME=${CLUSTER_NAME:-fairlead}

die() { echo "$(basename "$0"): $*" >&2; exit 1; }
say() { echo "$(basename "$0"): $*" >&2; }
