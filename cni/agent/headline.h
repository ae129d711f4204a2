/* Lines of an HTTP head, which end in CRLF: what the parsers of requests and of answers have in common. Pure. */
#ifndef CNI_AGENT_HEADLINE_H
#define CNI_AGENT_HEADLINE_H

#include "common/base/cleanup.h"
#include "common/base/span.h"

enum cni_headline_outcome {
    CNI_HEADLINE_TAKEN,   /* *ret_line is set, without its end; *rest is what follows */
    CNI_HEADLINE_PARTIAL, /* no whole line is here */
    CNI_HEADLINE_BAD,     /* a line feed alone */
};

enum cni_headline_outcome cni_headline_take(struct fl_span *rest, struct fl_span *ret_line) FL_MUST_CHECK;

#endif
