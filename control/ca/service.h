/* istio.v1.auth.IstioCertificateService/CreateCertificate: who is authenticated gets a certificate for the key of its
 * request, for the identity that its token proves and for nothing else. The request's own names, its subject and its
 * metadata change nothing; its validity_duration may shorten. The answer is the leaf, the intermediates, and last the
 * roots (all of the bundle in one element, as Istio does it).
 *
 * The order: the peer's quota, the token, the identity's quota, the request (csr.h: form, signature, strength), the
 * issuer. Each call ends with one audit line in the log, issued or refused, and one count; but of those that a quota
 * refuses the log tells one a second, with the number of those that it kept back.
 */
#ifndef CONTROL_CA_SERVICE_H
#define CONTROL_CA_SERVICE_H

#include "control/ca/authenticate.h"
#include "control/ca/authority.h"

struct fl_grpc_method;
struct control_certificates;

#define CONTROL_CERTIFICATE_REQUEST_MAX 32768 /* bytes of a message */
#define CONTROL_CERTIFICATE_CALLS_MAX   1024  /* under way at once */
#define CONTROL_CERTIFICATE_VOUCHED_MAX 256   /* … besides these, of callers with a certificate of ours */

struct control_certificates_options {
    struct fl_loop *loop;
    struct fl_metrics *metrics;
    struct control_authority *authority;         /* borrowed: outlives this */
    struct control_authenticator *authenticator; /* borrowed: outlives this */
    /* Certificates a second and at once; 0: no bound. A peer is an address, an identity may be many pods'. */
    uint32_t peer_rate, peer_burst, identity_rate, identity_burst;
};

int control_certificates_new(const struct control_certificates_options *options,
                             struct control_certificates **ret_certificates) FL_MUST_CHECK;
/* After the server whose table it stands in is freed. */
struct control_certificates *control_certificates_free(struct control_certificates *certificates);

/* The row for a server's table of methods: unary; `certificates` must outlive the server. */
void control_certificates_method(struct control_certificates *certificates, struct fl_grpc_method *ret_method);

#endif
