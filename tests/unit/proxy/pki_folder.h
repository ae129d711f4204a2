/* A folder in /tmp with cert-chain.pem, key.pem and root-cert.pem, as a sidecar finds them in /run/fairlead, and the
 * golden bootstraps with that folder's name in it. Failures are asserted. */
#ifndef TESTS_UNIT_PROXY_PKI_FOLDER_H
#define TESTS_UNIT_PROXY_PKI_FOLDER_H

#include "common/base/buf.h"
#include "common/pki/cert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct pki_folder {
    char path[64];
};

static inline void pki_folder_write(const struct pki_folder *folder, const char *name, struct fl_span bytes)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder->path, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.len, file), bytes.len);
    assert_int_equal(fclose(file), 0);
}

/* Issues a new leaf with this SPIFFE ID under a new root and writes the three files. */
static inline void pki_folder_issue(const struct pki_folder *folder, const char *spiffe, time_t not_after)
{
    FL_CLEANUP(fl_cleanup_key) struct fl_key *root_key = NULL;
    FL_CLEANUP(fl_cleanup_key) struct fl_key *key = NULL;
    FL_CLEANUP(fl_cleanup_cert) struct fl_cert *root = NULL;
    FL_CLEANUP(fl_cleanup_cert) struct fl_cert *leaf = NULL;
    struct fl_cert_request request = {
        .common_name = FL_SPAN("root"), .not_before = 1000000000, .not_after = 4000000000, .authority = true};
    assert_int_equal(fl_key_generate(&root_key, NULL), 0);
    assert_int_equal(fl_key_generate(&key, NULL), 0);
    assert_int_equal(fl_cert_issue(&request, root_key, NULL, root_key, &root, NULL), 0);
    request = (struct fl_cert_request){.uri = fl_span_str(spiffe), .not_before = 1000000000, .not_after = not_after};
    assert_int_equal(fl_cert_issue(&request, key, root, root_key, &leaf, NULL), 0);
    struct fl_buf buf;
    fl_buf_init(&buf, 65536);
    assert_int_equal(fl_cert_print(leaf, &buf), 0);
    pki_folder_write(folder, "cert-chain.pem", fl_buf_span(&buf));
    fl_buf_clear(&buf);
    assert_int_equal(fl_key_print(key, &buf), 0);
    pki_folder_write(folder, "key.pem", fl_buf_span(&buf));
    fl_buf_clear(&buf);
    assert_int_equal(fl_cert_print(root, &buf), 0);
    pki_folder_write(folder, "root-cert.pem", fl_buf_span(&buf));
    fl_buf_done(&buf);
}

static inline void pki_folder_init(struct pki_folder *folder)
{
    snprintf(folder->path, sizeof(folder->path), "/tmp/fairlead-test-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    pki_folder_issue(folder, "spiffe://cluster.local/ns/demo/sa/server", 4000000000);
}

static inline void pki_folder_done(const struct pki_folder *folder)
{
    static const char *const names[] = {"cert-chain.pem", "key.pem",   "root-cert.pem",
                                        "bootstrap.yaml", "other.pem", "secrets.yaml"};
    for (size_t i = 0; i < FL_COUNT(names); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", folder->path, names[i]);
        unlink(path);
    }
    rmdir(folder->path);
}

/* `text` with every "/run/fairlead" replaced by the folder; owned by the caller. */
static inline void pki_folder_place(const struct pki_folder *folder, struct fl_span text, struct fl_buf *out)
{
    static const char from[] = "/run/fairlead";
    for (size_t i = 0; i < text.len;) {
        bool here = text.len - i >= sizeof(from) - 1 && memcmp(text.data + i, from, sizeof(from) - 1) == 0;
        assert_int_equal(here ? fl_buf_append_str(out, folder->path) : fl_buf_append_byte(out, text.data[i]), 0);
        i += here ? sizeof(from) - 1 : 1;
    }
}

static inline void pki_folder_golden(const struct pki_folder *folder, const char *name, struct fl_buf *out)
{
    char path[128];
    snprintf(path, sizeof(path), "tests/golden/bootstrap/%s.yaml", name);
    struct fl_buf text;
    fl_buf_init(&text, 1u << 20);
    assert_int_equal(fl_buf_read_file(&text, path), 0);
    pki_folder_place(folder, fl_buf_span(&text), out);
    fl_buf_done(&text);
}

#endif
