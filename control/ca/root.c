#include "control/ca/root.h"

#include "common/base/file.h"
#include "common/pki/bundle.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define OTHERS   0027 /* and a given one's: a mounted Secret is often readable by a group */
#define PAIR_MAX (FL_KEY_PEM_MAX + FL_CERT_PEM_MAX)

const char *const control_root_files[CONTROL_ROOTS_MAX] = {"root-1.pem", "root-2.pem", "root-3.pem",
                                                           "root-4.pem", "root-5.pem", "root-6.pem",
                                                           "root-7.pem", "root-8.pem", "root-9.pem"};
const char *const control_given_files[CONTROL_GIVEN_FILES] = {"ca-key.pem", "ca-cert.pem", "cert-chain.pem",
                                                              "root-cert.pem"};

void control_root_done(struct control_root *root)
{
    root->key = fl_key_unref(root->key);
    root->cert = fl_cert_unref(root->cert);
    fl_buf_done(&root->bundle);
}

/* Key and certificate of one root, or of the given intermediate. */
struct pair {
    struct fl_key *key;
    struct fl_cert *cert;
    time_t from, to;
};

static void cleanup_pair(struct pair *pair)
{
    fl_key_unref(pair->key);
    fl_cert_unref(pair->cert);
}

/* A CA by its own word, and this key's. */
static int check_pair(struct pair *pair, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf pem;
    FL_CLEANUP(fl_cleanup_bundle) struct fl_bundle *alone = NULL;
    fl_buf_init(&pem, FL_CERT_PEM_MAX);
    int result = fl_cert_print(pair->cert, &pem);
    if (result < 0)
        return fl_err_errno(err, result, "certificate");
    fl_cert_validity(pair->cert, &pair->from, &pair->to);
    if (!fl_cert_matches(pair->cert, pair->key))
        return fl_err_set(err, -EINVAL, "the key is not the certificate's");
    result = fl_bundle_parse(fl_buf_span(&pem), &alone, err);
    return result == -EINVAL ? fl_err_set(err, -EINVAL, "not a CA's certificate") : result;
}

static int read_pair(const char *folder, unsigned number, struct pair *pair, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_wipe) struct fl_buf text;
    const char *name = control_root_files[number - 1];
    fl_buf_init(&text, PAIR_MAX);
    int result = fl_buf_reserve(&text, FL_KEY_PEM_MAX);
    if (result == 0)
        result = fl_file_read(folder, name, FL_FILE_OWNER_ALONE, &text, err);
    if (result < 0)
        return result;
    struct fl_span start = {text.data, text.len < FL_KEY_PEM_MAX ? text.len : FL_KEY_PEM_MAX};
    result = fl_key_parse(start, &pair->key, err);
    if (result == 0)
        result = fl_cert_parse(fl_buf_span(&text), &pair->cert, err);
    if (result == 0)
        result = check_pair(pair, err);
    if (result < 0)
        fl_err_prefix(err, "%s/%s", folder, name);
    return result;
}

int control_root_make(time_t now, int64_t life_s, struct fl_buf *out, struct fl_err *err)
{
    FL_CLEANUP(cleanup_pair) struct pair pair = {0};
    const struct fl_cert_request request = {.common_name = FL_SPAN("fairlead root"),
                                            .not_before = now,
                                            .not_after = now + (time_t)life_s,
                                            .authority = true};
    int result = fl_key_generate(&pair.key, err);
    if (result == 0)
        result = fl_cert_issue(&request, pair.key, NULL, pair.key, &pair.cert, err);
    if (result == 0 && (fl_buf_reserve(out, FL_KEY_PEM_MAX) < 0 || fl_key_print(pair.key, out) < 0 ||
                        fl_cert_print(pair.cert, out) < 0))
        result = fl_err_set(err, -ENOMEM, "out of memory");
    return result;
}

static int make_pair(const char *folder, unsigned number, time_t now, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_wipe) struct fl_buf text;
    char path[PATH_MAX];
    fl_buf_init(&text, PAIR_MAX);
    int result = fl_file_path(folder, control_root_files[number - 1], path, err);
    if (result == 0)
        result = control_root_make(now, CONTROL_ROOT_LIFE_S, &text, err);
    return result == 0 ? fl_file_write(path, fl_buf_span(&text), 0600, true, err) : result;
}

/* Which numbers are there: a bit for each. */
static unsigned list_roots(const char *folder)
{
    unsigned found = 0;
    for (unsigned number = 1; number <= CONTROL_ROOTS_MAX; number++) {
        char path[PATH_MAX];
        struct stat status;
        if (fl_file_path(folder, control_root_files[number - 1], path, NULL) == 0 && stat(path, &status) == 0)
            found |= 1u << number;
    }
    return found;
}

static int make_folder(const char *folder, struct fl_err *err)
{
    return mkdir(folder, 0700) != 0 && errno != EEXIST ? fl_err_errno(err, -errno, "%s", folder) : 0;
}

static int append_root(struct control_root *root, const struct fl_cert *cert, struct fl_err *err)
{
    int result = fl_cert_print(cert, &root->bundle);
    return result < 0 ? fl_err_errno(err, result, "trust bundle") : 0;
}

static bool is_newer(const struct pair *pairs, unsigned a, unsigned b)
{
    return pairs[a].from > pairs[b].from || (pairs[a].from == pairs[b].from && a > b);
}

/* The newest of the valid ones that has been known for long enough; else the oldest. */
static unsigned choose(const struct pair *pairs, uint32_t overlap_s, time_t now, time_t *ret_changes)
{
    unsigned chosen = 0;
    time_t changes = 0;
    for (unsigned number = 1; number <= CONTROL_ROOTS_MAX; number++) {
        const struct pair *pair = &pairs[number];
        if (pair->cert == NULL || now > pair->to)
            continue;
        bool known = pair->from + (time_t)overlap_s <= now;
        bool chosen_known = chosen != 0 && pairs[chosen].from + (time_t)overlap_s <= now;
        if (chosen == 0 || (known && (!chosen_known || is_newer(pairs, number, chosen))) ||
            (!known && !chosen_known && is_newer(pairs, chosen, number)))
            chosen = number;
    }
    for (unsigned number = 1; number <= CONTROL_ROOTS_MAX; number++) {
        time_t known = pairs[number].from + (time_t)overlap_s;
        if (number != chosen && pairs[number].cert != NULL && now <= pairs[number].to && known > now &&
            (changes == 0 || known < changes))
            changes = known;
    }
    *ret_changes = changes;
    return chosen;
}

static int take_self_made(const char *folder, struct pair *pairs, uint32_t overlap_s, time_t now,
                          struct control_root *root, struct fl_err *err)
{
    unsigned chosen = choose(pairs, overlap_s, now, &root->changes);
    if (chosen == 0)
        return fl_err_set(err, -EINVAL, "%s: every root has expired", folder);
    int result = append_root(root, pairs[chosen].cert, err);
    for (unsigned number = 1; number <= CONTROL_ROOTS_MAX && result == 0; number++) {
        if (number != chosen && pairs[number].cert != NULL && now <= pairs[number].to)
            result = append_root(root, pairs[number].cert, err);
    }
    root->key = fl_take(pairs[chosen].key);
    root->cert = fl_take(pairs[chosen].cert);
    return result;
}

static void done_pairs(struct pair *pairs)
{
    for (unsigned number = 1; number <= CONTROL_ROOTS_MAX; number++)
        cleanup_pair(&pairs[number]);
}

static int read_pairs(const char *folder, struct pair *pairs, struct fl_err *err)
{
    unsigned found = list_roots(folder);
    int result = 0;
    for (unsigned number = 1; number <= CONTROL_ROOTS_MAX && result == 0; number++) {
        if ((found & 1u << number) != 0)
            result = read_pair(folder, number, &pairs[number], err);
    }
    return result;
}

static int load_self_made(const char *folder, uint32_t overlap_s, time_t now, struct control_root *root,
                          struct fl_err *err)
{
    struct pair pairs[CONTROL_ROOTS_MAX + 1] = {0};
    int result = make_folder(folder, err);
    if (result == 0 && list_roots(folder) == 0) {
        result = make_pair(folder, 1, now, err);
        if (result == -EEXIST)
            result = 0;
    }
    if (result == 0)
        result = read_pairs(folder, pairs, err);
    if (result == 0)
        result = take_self_made(folder, pairs, overlap_s, now, root, err);
    done_pairs(pairs);
    return result;
}

static int read_given_key(const char *folder, struct pair *pair, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_wipe) struct fl_buf text;
    fl_buf_init(&text, FL_KEY_PEM_MAX);
    int result = fl_buf_reserve(&text, FL_KEY_PEM_MAX);
    if (result == 0)
        result = fl_file_read(folder, "ca-key.pem", OTHERS, &text, err);
    return result == 0 ? fl_key_parse(fl_buf_span(&text), &pair->key, err) : result;
}

/* cert-chain.pem begins with the issuing certificate; without it ca-cert.pem is all of the chain. */
static int read_given_cert(const char *folder, struct pair *pair, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf text;
    FL_CLEANUP(fl_cleanup_cert) struct fl_cert *chain = NULL;
    fl_buf_init(&text, FL_CERT_PEM_MAX);
    int result = fl_file_read(folder, "ca-cert.pem", 0, &text, err);
    if (result == 0)
        result = fl_cert_parse(fl_buf_span(&text), &pair->cert, err);
    if (result < 0)
        return result;
    fl_buf_clear(&text);
    result = fl_file_read(folder, "cert-chain.pem", 0, &text, err);
    if (result == -ENOENT)
        return 0;
    if (result == 0)
        result = fl_cert_parse(fl_buf_span(&text), &chain, err);
    if (result < 0)
        return result;
    if (!fl_cert_matches(chain, pair->key))
        return fl_err_set(err, -EINVAL, "%s/cert-chain.pem does not begin with the certificate of ca-cert.pem", folder);
    fl_cert_unref(pair->cert);
    pair->cert = fl_take(chain);
    return 0;
}

static int check_given(const struct pair *pair, const struct control_root *root, time_t now, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_bundle) struct fl_bundle *bundle = NULL;
    int result = fl_bundle_parse(fl_buf_span(&root->bundle), &bundle, err);
    if (result == 0)
        result = fl_cert_verify(pair->cert, bundle, now, err);
    return result == -EACCES ? -EINVAL : result;
}

static int load_given(const char *folder, time_t now, struct control_root *root, struct fl_err *err)
{
    FL_CLEANUP(cleanup_pair) struct pair pair = {0};
    int result = read_given_key(folder, &pair, err);
    if (result == 0)
        result = read_given_cert(folder, &pair, err);
    if (result == 0)
        result = check_pair(&pair, err);
    if (result == 0)
        result = fl_file_read(folder, "root-cert.pem", 0, &root->bundle, err);
    if (result == 0)
        result = check_given(&pair, root, now, err);
    root->key = fl_take(pair.key);
    root->cert = fl_take(pair.cert);
    return result < 0 ? (fl_err_prefix(err, "the given certificate authority"), result) : 0;
}

/* --- both, as the courier brings them --- */

static bool is_there(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat status;
    return fl_file_path(folder, name, path, NULL) == 0 && stat(path, &status) == 0;
}

static int read_since(const char *folder, time_t *ret_since, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf text;
    uint64_t seconds = 0;
    fl_buf_init(&text, 32);
    int result = fl_file_read(folder, CONTROL_GIVEN_SINCE, 0, &text, err);
    if (result == 0 && !fl_span_to_u64(fl_buf_span(&text), INT64_MAX / 2, &seconds))
        result = fl_err_set(err, -EINVAL, "%s/" CONTROL_GIVEN_SINCE ": not a number", folder);
    *ret_since = (time_t)seconds;
    return result;
}

static bool has_valid(const struct pair *pairs, time_t now)
{
    for (unsigned number = 1; number <= CONTROL_ROOTS_MAX; number++) {
        if (pairs[number].cert != NULL && now <= pairs[number].to)
            return true;
    }
    return false;
}

/* The given one issues, or is only trusted yet. */
static int take_both(const char *folder, struct pair *pairs, uint32_t overlap_s, time_t now, struct control_root *root,
                     struct fl_err *err)
{
    struct control_root given = {0};
    time_t since;
    fl_buf_init(&given.bundle, CONTROL_ROOT_BUNDLE_MAX);
    int result = read_since(folder, &since, err);
    if (result == 0)
        result = load_given(folder, now, &given, err);
    if (result == 0 && has_valid(pairs, now))
        result = take_self_made(folder, pairs, overlap_s, now, root, err);
    bool issues = root->key == NULL || now >= since + (time_t)overlap_s;
    if (result == 0)
        result = fl_buf_append(&root->bundle, fl_buf_span(&given.bundle));
    if (result == 0 && issues) {
        fl_key_unref(root->key);
        fl_cert_unref(root->cert);
        root->key = fl_take(given.key);
        root->cert = fl_take(given.cert);
    }
    root->changes = issues ? 0 : since + (time_t)overlap_s;
    control_root_done(&given);
    return result;
}

int control_root_load_stored(const char *folder, uint32_t overlap_s, time_t now, struct control_root *ret_root,
                             struct fl_err *err)
{
    struct pair pairs[CONTROL_ROOTS_MAX + 1] = {0};
    struct control_root root = {0};
    fl_buf_init(&root.bundle, CONTROL_ROOT_BUNDLE_MAX);
    bool given = is_there(folder, "ca-key.pem");
    int result = read_pairs(folder, pairs, err);
    if (result == 0 && given)
        result = take_both(folder, pairs, overlap_s, now, &root, err);
    else if (result == 0 && list_roots(folder) == 0)
        result = fl_err_set(err, -ENOENT, "no certificate authority has come yet");
    else if (result == 0)
        result = take_self_made(folder, pairs, overlap_s, now, &root, err);
    done_pairs(pairs);
    if (result < 0)
        control_root_done(&root);
    else
        *ret_root = root;
    return result;
}

int control_root_load(const char *folder, bool given, uint32_t overlap_s, time_t now, struct control_root *ret_root,
                      struct fl_err *err)
{
    struct control_root root = {0};
    fl_buf_init(&root.bundle, CONTROL_ROOT_BUNDLE_MAX);
    int result = given ? load_given(folder, now, &root, err) : load_self_made(folder, overlap_s, now, &root, err);
    if (result < 0)
        control_root_done(&root);
    else
        *ret_root = root;
    return result;
}

int control_root_rotate(const char *folder, time_t now, struct fl_err *err)
{
    unsigned found = list_roots(folder), number = 1;
    if (found == 0)
        return fl_err_set(err, -ENOENT, "%s holds no root that could be rotated", folder);
    while (found >> number > 1) /* behind the highest */
        number++;
    return number == CONTROL_ROOTS_MAX ? fl_err_set(err, -ENOSPC, "%s: root-%u.pem is the last number", folder, number)
                                       : make_pair(folder, number + 1, now, err);
}
