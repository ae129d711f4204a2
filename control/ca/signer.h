/* What the child signs, and what it does not: from a request to an answer, by rules that whoever sends requests cannot
 * change. Pure but for OpenSSL's random numbers.
 *
 *  - an identity must be of the form spiffe://<trust domain>/ns/…/sa/… under the one trust domain it was started with;
 *  - the key must be one that common/pki accepts (EC P-256, P-384, P-521; RSA 2048 to 8192);
 *  - a leaf, never a CA; valid from a minute ago (clocks differ) for at most `validity_s`, and never beyond its issuer;
 *  - a server's certificate has the names that the child was started with, and no identity.
 */
#ifndef CONTROL_CA_SIGNER_H
#define CONTROL_CA_SIGNER_H

#include "control/ca/channel.h"
#include "control/ca/root.h"

#define CONTROL_SIGNER_NAMES_MAX 32

struct control_signer {
    const struct control_root *root;
    const char *trust_domain;
    const char *server_names[CONTROL_SIGNER_NAMES_MAX + 1]; /* ends with NULL */
    uint32_t validity_s;
};

/* Appends the answer (SIGNED or REFUSED) to a request. 0, or -ENOMEM, -EMSGSIZE: none could be written. */
int control_signer_answer(const struct control_signer *signer, const struct control_channel_message *request,
                          time_t now, struct fl_buf *out) FL_MUST_CHECK;

#endif
