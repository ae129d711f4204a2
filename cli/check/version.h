/* Versions of programs, and which go together: each serves its own and the minor version before. Pure.
 */
#ifndef CLI_CHECK_VERSION_H
#define CLI_CHECK_VERSION_H

#include "common/base/span.h"

enum cli_skew {
    CLI_SKEW_NONE,
    CLI_SKEW_PATCH,   /* the same minor version */
    CLI_SKEW_MINOR,   /* one apart: works */
    CLI_SKEW_TOO_FAR, /* not tried, nor promised */
    CLI_SKEW_UNKNOWN, /* one of them is no "MAJOR.MINOR.PATCH", a "v" before and "-rc1", "+build" behind allowed */
};

enum cli_skew cli_version_skew(struct fl_span a, struct fl_span b);

#endif
