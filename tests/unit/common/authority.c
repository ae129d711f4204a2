#include "tests/unit/common/authority.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

struct fl_span pem_of_cert(const struct fl_cert *cert, struct fl_buf *buf)
{
    fl_buf_init(buf, FL_CERT_PEM_MAX);
    assert_int_equal(fl_cert_print(cert, buf), 0);
    return fl_buf_span(buf);
}

struct fl_span pem_of_key(const struct fl_key *key, struct fl_buf *buf)
{
    fl_buf_init(buf, FL_KEY_PEM_MAX);
    assert_int_equal(fl_key_print(key, buf), 0);
    return fl_buf_span(buf);
}

void authority_init(struct authority *authority, const char *common_name)
{
    const struct fl_cert_request request = {.common_name = fl_span_str(common_name),
                                            .not_before = time(NULL) - 3600,
                                            .not_after = time(NULL) + 3600,
                                            .authority = true};
    assert_int_equal(fl_key_generate(&authority->key, NULL), 0);
    assert_int_equal(fl_cert_issue(&request, authority->key, NULL, authority->key, &authority->root, NULL), 0);
    struct fl_buf pem;
    assert_int_equal(fl_bundle_parse(pem_of_cert(authority->root, &pem), &authority->bundle, NULL), 0);
    fl_buf_done(&pem);
}

void authority_done(struct authority *authority)
{
    fl_bundle_unref(authority->bundle);
    fl_cert_unref(authority->root);
    fl_key_unref(authority->key);
    *authority = (struct authority){0};
}

void authority_issue_request(const struct authority *authority, const struct fl_cert_request *request,
                             struct identity *ret_identity)
{
    struct fl_err err = {0};
    assert_int_equal(fl_key_generate(&ret_identity->key, NULL), 0);
    if (fl_cert_issue(request, ret_identity->key, authority->root, authority->key, &ret_identity->cert, &err) < 0)
        fail_msg("%s", err.text);
}

void authority_issue(const struct authority *authority, const char *uri, const char *dns_name,
                     struct identity *ret_identity)
{
    const char *const names[] = {dns_name, NULL};
    const struct fl_cert_request request = {.uri = fl_span_str(uri),
                                            .common_name = uri == NULL && dns_name == NULL ? FL_SPAN("nobody")
                                                                                           : (struct fl_span){NULL, 0},
                                            .dns_names = names,
                                            .not_before = time(NULL) - 3600,
                                            .not_after = time(NULL) + 3600};
    authority_issue_request(authority, &request, ret_identity);
}

void identity_done(struct identity *identity)
{
    fl_cert_unref(identity->cert);
    fl_key_unref(identity->key);
    *identity = (struct identity){0};
}

struct fl_bundle *authority_bundle_of(const struct authority *one, const struct authority *other)
{
    struct fl_buf pem;
    fl_buf_init(&pem, FL_BUNDLE_PEM_MAX);
    struct fl_bundle *bundle = NULL;
    assert_int_equal(fl_cert_print(one->root, &pem), 0);
    assert_int_equal(fl_cert_print(other->root, &pem), 0);
    assert_int_equal(fl_bundle_parse(fl_buf_span(&pem), &bundle, NULL), 0);
    fl_buf_done(&pem);
    return bundle;
}
