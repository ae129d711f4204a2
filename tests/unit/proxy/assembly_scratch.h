/* The assembly's state made once more by walking everything: what its tables, lists and sums are kept for. */
#ifndef TESTS_UNIT_PROXY_ASSEMBLY_SCRATCH_H
#define TESTS_UNIT_PROXY_ASSEMBLY_SCRATCH_H

#include "proxy/config/assembly.h"

/* Right after a publish that succeeded: NULL, or what of the last snapshot differs from one made from scratch, or what
 * waits though it need not. `last`: the last snapshot; NULL: none yet. */
const char *assembly_scratch_differs(const struct proxy_assembly *assembly, const struct proxy_snapshot *last);

#endif
