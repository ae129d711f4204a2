/* A small authority for tests: a root, and certificates under it on demand. Everything asserts. */
#ifndef TESTS_UNIT_COMMON_AUTHORITY_H
#define TESTS_UNIT_COMMON_AUTHORITY_H

#include "common/pki/bundle.h"
#include "common/pki/cert.h"

struct authority {
    struct fl_key *key;
    struct fl_cert *root;
    struct fl_bundle *bundle;
};

struct identity {
    struct fl_key *key;
    struct fl_cert *cert;
};

void authority_init(struct authority *authority, const char *common_name);
void authority_done(struct authority *authority);

/* A leaf from an hour ago to in an hour. `uri` NULL: no URI name; dns_name NULL: none. */
void authority_issue(const struct authority *authority, const char *uri, const char *dns_name,
                     struct identity *ret_identity);
/* By a request of the test's own. */
void authority_issue_request(const struct authority *authority, const struct fl_cert_request *request,
                             struct identity *ret_identity);
void identity_done(struct identity *identity);

/* A bundle of both roots. */
struct fl_bundle *authority_bundle_of(const struct authority *one, const struct authority *other);

/* The PEM of a certificate or key into `buf`, which it initialises. */
struct fl_span pem_of_cert(const struct fl_cert *cert, struct fl_buf *buf);
struct fl_span pem_of_key(const struct fl_key *key, struct fl_buf *buf);

#endif
