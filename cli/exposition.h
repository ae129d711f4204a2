/* Prometheus' text format (0.0.4), read sample by sample: pure, no copy, no allocation. It comes from pods, so anything
 * may stand in it; lines that are no samples are passed over. Fuzzed.
 */
#ifndef CLI_EXPOSITION_H
#define CLI_EXPOSITION_H

#include "common/base/span.h"

struct cli_sample {
    struct fl_span name;
    struct fl_span labels; /* what stands between the braces; empty: none */
    double value;          /* finite, not negative */
};

/* Takes the next sample out of *text. False: there is none any more. */
bool cli_exposition_next(struct fl_span *text, struct cli_sample *ret_sample);

/* A label's value as it stands there, escapes and all (\\, \", \n); data == NULL: it is not there. */
struct fl_span cli_sample_label(const struct cli_sample *sample, const char *name);

#endif
