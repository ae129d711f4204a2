/* The plugin's verbs by the CNI spec (1.1; 0.3.0 to 1.0 too): one call, one answer.
 *
 * ADD     no capture annotation: the netns is not touched and the previous result is handed on. With one: the netns is
 *         programmed and verified, then the previous result is handed on.
 * CHECK   the netns still holds what the annotation asks for; an error names what is missing or altered.
 * DEL     removes what ADD made; succeeds where the netns is gone, and leaves one alone that is not the pod's
 *         (sandbox.h). Never fails for what it finds in the netns or in a member of its configuration, because a DEL
 *         that fails keeps a pod from ending; the namespace takes the table with it anyway.
 * GC      success: nothing is kept outside the netns.
 * STATUS  success, because a failure makes the node NotReady for all pods; with the setting statusRequiresCapture an
 *         error where the kernel is certain to be unable to capture.
 * VERSION the versions that are spoken.
 */
#ifndef CNI_PLUGIN_VERBS_H
#define CNI_PLUGIN_VERBS_H

#include "common/base/buf.h"
#include "common/base/err.h"

/* Error codes of the answer: the spec's (1 to 99) and ours (from 100). */
enum cni_code {
    CNI_CODE_VERSION = 1,      /* the cniVersion is not spoken, or has no such verb */
    CNI_CODE_UNSUPPORTED = 2,  /* a field of a value that we do not know: a capture spec of an unknown version */
    CNI_CODE_ENVIRONMENT = 4,  /* a variable is missing or wrong; CNI_NETNS names no netns, or the host's */
    CNI_CODE_IO = 5,           /* stdin could not be read, or memory is out */
    CNI_CODE_DECODE = 6,       /* stdin is not JSON */
    CNI_CODE_CONFIG = 7,       /* the configuration is wrong; so is a capture spec */
    CNI_CODE_AGAIN = 11,       /* the kernel kept being busy: try again later */
    CNI_CODE_UNAVAILABLE = 50, /* STATUS: no pod can be captured on this node */
    CNI_CODE_KERNEL = 100,     /* the kernel lacks what capture needs; the details name it */
    CNI_CODE_CAPTURE = 101,    /* the netns could not be programmed; it is as it was */
    CNI_CODE_DIFFERS = 102,    /* what the netns holds is not what the capture spec asks for */
};

struct cni_environment { /* the variables of the spec; NULL: not set */
    const char *command, *container_id, *netns, *ifname, *args;
};

/* Carries out one verb. `config` is what stdin held. `out` gets the answer for stdout: a result, an error object, or
 * nothing. Returns the exit code: 0, or 1 where the answer is an error object. err has the reason of a failure, and of
 * what DEL, GC or STATUS forgave (then the exit code is 0): for the log. err->code is 0 where there is nothing to tell.
 */
int cni_verbs_run(const struct cni_environment *environment, struct fl_span config, struct fl_buf *out,
                  struct fl_err *err) FL_MUST_CHECK;

/* Appends the spec's error object. `version`: of the configuration; one that we do not speak is replaced by our
 * latest. 0, -ENOMEM, -EMSGSIZE. */
int cni_verbs_print_error(struct fl_span version, enum cni_code code, const char *message, const char *details,
                          struct fl_buf *out) FL_MUST_CHECK;

#endif
