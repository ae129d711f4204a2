/* A probe through the rules of a netns: is what they say what the kernel does? The reserved destination of the start
 * gate (port.h: 127.0.0.6 and ::6, port 15002, where nobody listens) is dialled from inside, and connection tracking is
 * asked where the dial went: a redirected one is answered from the outbound port. That holds whether or not a proxy
 * listens there, for the kernel notes the redirection before anybody answers. Where this kernel does not tell
 * (no ctnetlink, or its events are off), an answer is the proof: the probe keeps the reserved port for itself
 * meanwhile, so that nobody but whoever is redirected to can answer.
 *
 * Nothing is left behind, and nothing of the netns is changed. A proxy that listens sees one connection a family, and
 * closes it. The calling thread visits the netns only to open its sockets.
 */
#ifndef CNI_CAPTURE_PROBE_H
#define CNI_CAPTURE_PROBE_H

#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/mesh/capture.h"

#include <stdbool.h>

enum cni_probe_verdict {
    CNI_PROBE_REDIRECTED,
    CNI_PROBE_NOT_ASKED, /* the spec leaves IPv6 alone, or the netns has none */
    CNI_PROBE_ASTRAY,    /* it went elsewhere, or nowhere */
    CNI_PROBE_UNKNOWN,   /* the kernel does not tell, and nobody answered */
};
const char *cni_probe_verdict_name(enum cni_probe_verdict verdict); /* "redirected", "not asked", … */

#define CNI_PROBE_TEXT_MAX 160
#define CNI_PROBE_WAIT_MS  1000 /* for one dial; on lo an answer comes within the system call */

struct cni_probe_dial {
    enum cni_probe_verdict verdict;
    bool answered;                 /* somebody accepted */
    char text[CNI_PROBE_TEXT_MAX]; /* what was seen, for people */
};

enum cni_probe_family { CNI_PROBE_IPV4, CNI_PROBE_IPV6, CNI_PROBE_FAMILIES };

struct cni_probe {
    struct cni_probe_dial dials[CNI_PROBE_FAMILIES];
};

/* Some ms; at most CNI_PROBE_WAIT_MS a family. 0, or a negative errno where it could not be tried at all. */
int cni_probe_run(int netns, const struct fl_capture *capture, struct cni_probe *ret_probe,
                  struct fl_err *err) FL_MUST_CHECK;

/* Whether every family that was asked came back. */
bool cni_probe_passed(const struct cni_probe *probe);

/* --- what cni_probe_run is made of: what was seen, judged. Pure. --- */

struct cni_probe_sight {
    bool asked;           /* false: not captured, or the netns has no such family */
    bool wanted;          /* false: not captured */
    bool address_missing; /* the reserved address is on no interface of the netns */
    bool occupied;        /* somebody has the reserved port: an answer proves nothing */
    bool hearing;         /* connection tracking would have told of the dial */
    int dial;             /* 0: accepted; the errno of the dial else */
    bool tracked;         /* it told */
    uint16_t from_port;   /* then: from which port the answer comes */
};

void cni_probe_judge(const struct cni_probe_sight *sight, enum cni_probe_family family, uint16_t outbound_port,
                     struct cni_probe_dial *ret_dial);

#endif
