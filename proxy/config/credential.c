#include "proxy/config/credential.h"

#include "common/base/file.h"
#include "common/base/siphash.h"
#include "common/pki/bundle.h"
#include "common/pki/cert.h"

#include <errno.h>
#include <limits.h>

#define FORM       "fairlead-identity 1"
#define HEAD_PARTS 6 /* the form's two words, three lengths, the checksum */

void proxy_credential_done(struct proxy_credential *credential)
{
    fl_buf_wipe(&credential->text);
    free(credential->uri_text);
    *credential = (struct proxy_credential){0};
}

/* --- checking --- */

struct parsed {
    struct fl_key *key;
    struct fl_cert *cert;
    struct fl_bundle *bundle;
};

static void cleanup_parsed(struct parsed *parsed)
{
    fl_key_unref(parsed->key);
    fl_cert_unref(parsed->cert);
    fl_bundle_unref(parsed->bundle);
}

static int check_leaf(const struct parsed *parsed, struct fl_span uri, time_t now, struct proxy_credential *credential,
                      struct fl_err *err)
{
    struct fl_span named;
    if (!fl_cert_matches(parsed->cert, parsed->key))
        return fl_err_set(err, -EINVAL, "the certificate is for another key");
    int result = fl_cert_verify(parsed->cert, parsed->bundle, now, err);
    if (result == 0)
        result = fl_cert_spiffe(parsed->cert, &named, err);
    if (result < 0)
        return result;
    if (uri.len > 0 && !fl_span_eq(named, uri))
        return fl_err_set(err, -EACCES, "the certificate is for %.*s, not for %.*s", FL_SPAN_ARG(named),
                          FL_SPAN_ARG(uri));
    credential->uri_text = fl_span_dup(named);
    if (credential->uri_text == NULL)
        return fl_err_set(err, -ENOMEM, "identity: out of memory");
    credential->uri = fl_span_str(credential->uri_text);
    fl_cert_validity(parsed->cert, &credential->not_before, &credential->not_after);
    return 0;
}

static int check(struct fl_span uri, time_t now, struct proxy_credential *credential, struct fl_err *err)
{
    FL_CLEANUP(cleanup_parsed) struct parsed parsed = {0};
    int result = fl_key_parse(credential->key, &parsed.key, err);
    if (result == 0)
        result = fl_cert_parse(credential->chain, &parsed.cert, err);
    if (result == 0)
        result = fl_bundle_parse(credential->roots, &parsed.bundle, err);
    return result == 0 ? check_leaf(&parsed, uri, now, credential, err) : result;
}

int proxy_credential_take(struct fl_span key, struct fl_span chain, struct fl_span roots, struct fl_span uri,
                          time_t now, struct proxy_credential *ret_credential, struct fl_err *err)
{
    FL_CLEANUP(proxy_credential_done) struct proxy_credential credential = {0};
    if (key.len > PROXY_CREDENTIAL_PART_MAX || chain.len > PROXY_CREDENTIAL_PART_MAX ||
        roots.len > PROXY_CREDENTIAL_PART_MAX)
        return fl_err_set(err, -EINVAL, "identity: key, chain or roots have more than %d bytes",
                          PROXY_CREDENTIAL_PART_MAX);
    fl_buf_init(&credential.text, PROXY_CREDENTIAL_FILE_MAX);
    if (fl_buf_reserve(&credential.text, key.len + chain.len + roots.len) < 0 ||
        fl_buf_append(&credential.text, key) < 0 || fl_buf_append(&credential.text, chain) < 0 ||
        fl_buf_append(&credential.text, roots) < 0)
        return fl_err_set(err, -ENOMEM, "identity: out of memory");
    struct fl_span rest = fl_buf_span(&credential.text); /* of empty parts there is no text at all */
    credential.key = fl_span_make(rest.data, key.len);
    rest = fl_span_from(rest, key.len);
    credential.chain = fl_span_make(rest.data, chain.len);
    credential.roots = fl_span_from(rest, chain.len);
    int result = check(uri, now, &credential, err);
    if (result == 0) {
        *ret_credential = credential;
        credential = (struct proxy_credential){0};
    }
    return result;
}

/* --- as text --- */

static uint64_t checksum(struct fl_span bytes)
{
    static const uint64_t key[2] = {0, 0};
    return fl_siphash_keyed(key, 2, 4, bytes);
}

int proxy_credential_print(const struct proxy_credential *credential, struct fl_buf *out)
{
    size_t before = out->len;
    int result = fl_buf_reserve(out, credential->text.len + 128);
    if (result == 0)
        result = fl_buf_printf(out, FORM " %zu %zu %zu %llu\n", credential->key.len, credential->chain.len,
                               credential->roots.len, (unsigned long long)checksum(fl_buf_span(&credential->text)));
    if (result == 0)
        result = fl_buf_append(out, fl_buf_span(&credential->text));
    if (result < 0)
        out->len = before;
    return result;
}

struct head {
    uint64_t key, chain, roots, checksum;
};

static bool read_head(struct fl_span line, struct head *head)
{
    struct fl_span parts[HEAD_PARTS], more;
    for (size_t i = 0; i < HEAD_PARTS; i++) {
        if (!fl_span_split(&line, ' ', &parts[i]))
            return false;
    }
    return !fl_span_split(&line, ' ', &more) && fl_span_eq_str(parts[0], "fairlead-identity") &&
           fl_span_eq_str(parts[1], "1") && fl_span_to_u64(parts[2], PROXY_CREDENTIAL_PART_MAX, &head->key) &&
           fl_span_to_u64(parts[3], PROXY_CREDENTIAL_PART_MAX, &head->chain) &&
           fl_span_to_u64(parts[4], PROXY_CREDENTIAL_PART_MAX, &head->roots) &&
           fl_span_to_u64(parts[5], UINT64_MAX, &head->checksum);
}

int proxy_credential_read(struct fl_span text, struct fl_span uri, time_t now, struct proxy_credential *ret_credential,
                          struct fl_err *err)
{
    struct head head;
    size_t end = fl_span_find(text, '\n');
    if (end == text.len || !read_head(fl_span_make(text.data, end), &head))
        return fl_err_set(err, -EINVAL, "not a kept identity");
    struct fl_span body = fl_span_from(text, end + 1);
    if (body.len != head.key + head.chain + head.roots || checksum(body) != head.checksum)
        return fl_err_set(err, -EINVAL, "damaged: its lengths or its checksum are wrong");
    struct fl_span key = {body.data, head.key};
    struct fl_span chain = {body.data + head.key, head.chain};
    struct fl_span roots = {body.data + head.key + head.chain, head.roots};
    return proxy_credential_take(key, chain, roots, uri, now, ret_credential, err);
}

/* --- as a file --- */

int proxy_credential_store(const struct proxy_credential *credential, const char *volume, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_wipe) struct fl_buf text;
    char path[PATH_MAX];
    fl_buf_init(&text, PROXY_CREDENTIAL_FILE_MAX);
    int result = fl_file_path(volume, PROXY_CREDENTIAL_FILE, path, err);
    if (result == 0 && proxy_credential_print(credential, &text) < 0)
        result = fl_err_set(err, -ENOMEM, "%s: out of memory", path);
    return result == 0 ? fl_file_write(path, fl_buf_span(&text), 0600, false, err) : result;
}

int proxy_credential_load(const char *volume, struct fl_span uri, time_t now, struct proxy_credential *ret_credential,
                          struct fl_err *err)
{
    FL_CLEANUP(fl_buf_wipe) struct fl_buf text;
    fl_buf_init(&text, PROXY_CREDENTIAL_FILE_MAX);
    int result = fl_buf_reserve(&text, text.max);
    if (result < 0)
        return fl_err_set(err, result, "identity: out of memory");
    result = fl_file_read(volume, PROXY_CREDENTIAL_FILE, 0077, &text, err);
    if (result < 0)
        return result;
    result = proxy_credential_read(fl_buf_span(&text), uri, now, ret_credential, err);
    if (result < 0)
        fl_err_prefix(err, "%s/" PROXY_CREDENTIAL_FILE, volume);
    return result;
}
