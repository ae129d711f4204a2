/* The child's side of issuer.h: gives up what it does not need, reads the key, gives up the rest, and answers requests
 * until the channel ends. Blocking and single-threaded: it has one peer, which bounds what is under way.
 */
#include "common/mesh/identity.h"
#include "control/ca/issuer.h"
#include "control/ca/jail.h"
#include "control/ca/signer.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>

#define OUTPUT_FLUSH 65536 /* answers collected before they are written */

struct settings {
    int channel;
    const char *folder;
    bool given, stored;
    uint32_t overlap_s;
    struct control_signer signer;
    size_t name_count;
};

enum option_id {
    OPTION_CHANNEL = 256,
    OPTION_FOLDER,
    OPTION_GIVEN,
    OPTION_STORED,
    OPTION_TRUST_DOMAIN,
    OPTION_VALIDITY,
    OPTION_OVERLAP,
    OPTION_NAME
};

static const struct option options[] = {
    {"channel", required_argument, NULL, OPTION_CHANNEL},
    {"folder", required_argument, NULL, OPTION_FOLDER},
    {"given", no_argument, NULL, OPTION_GIVEN},
    {"stored", no_argument, NULL, OPTION_STORED},
    {"trust-domain", required_argument, NULL, OPTION_TRUST_DOMAIN},
    {"validity", required_argument, NULL, OPTION_VALIDITY},
    {"overlap", required_argument, NULL, OPTION_OVERLAP},
    {"name", required_argument, NULL, OPTION_NAME},
    {NULL, 0, NULL, 0},
};

static bool take_number(const char *text, uint64_t max, uint32_t *ret_number)
{
    uint64_t number;
    if (!fl_span_to_u64(fl_span_str(text), max, &number))
        return false;
    *ret_number = (uint32_t)number;
    return true;
}

static bool take_option(int option, struct settings *settings)
{
    uint32_t channel;
    switch (option) {
    case OPTION_CHANNEL:
        if (!take_number(optarg, INT_MAX, &channel))
            return false;
        settings->channel = (int)channel;
        return true;
    case OPTION_FOLDER:
        settings->folder = optarg;
        return true;
    case OPTION_GIVEN:
        return settings->given = true;
    case OPTION_STORED:
        return settings->stored = true;
    case OPTION_TRUST_DOMAIN:
        settings->signer.trust_domain = optarg;
        return true;
    case OPTION_VALIDITY:
        return take_number(optarg, UINT32_MAX, &settings->signer.validity_s);
    case OPTION_OVERLAP:
        return take_number(optarg, UINT32_MAX, &settings->overlap_s);
    case OPTION_NAME:
        if (settings->name_count == CONTROL_SIGNER_NAMES_MAX)
            return false;
        settings->signer.server_names[settings->name_count++] = optarg;
        return true;
    default:
        return false;
    }
}

static bool read_options(int argc, char **argv, struct settings *settings)
{
    int option;
    optind = 0; /* the arguments are not the program's own */
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (!take_option(option, settings))
            return false;
    }
    return optind == argc && settings->channel > STDERR_FILENO && settings->folder != NULL &&
           settings->signer.trust_domain != NULL && settings->signer.validity_s > 0;
}

static int write_out(int channel, struct fl_buf *out)
{
    struct fl_span rest = fl_buf_span(out);
    while (rest.len > 0) {
        ssize_t count = write(channel, rest.data, rest.len);
        if (count < 0 && errno != EINTR)
            return -errno;
        if (count > 0)
            rest = fl_span_from(rest, (size_t)count);
    }
    fl_buf_clear(out);
    return 0;
}

static int answer_all(const struct settings *settings, struct fl_buf *in, struct fl_buf *out)
{
    struct fl_span rest = fl_buf_span(in);
    struct control_channel_message request;
    int result;
    while ((result = control_channel_read(&rest, false, &request)) == CONTROL_CHANNEL_MESSAGE) {
        result = control_signer_answer(&settings->signer, &request, time(NULL), out);
        if (result == 0 && out->len >= OUTPUT_FLUSH)
            result = write_out(settings->channel, out);
        if (result < 0)
            return result;
    }
    fl_buf_consume(in, in->len - rest.len);
    return result < 0 ? result : write_out(settings->channel, out);
}

/* Until the channel ends, which is the one good end. */
static int serve(const struct settings *settings)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf in;
    FL_CLEANUP(fl_buf_done) struct fl_buf out;
    fl_buf_init(&in, OUTPUT_FLUSH + CONTROL_CHANNEL_REQUEST_MAX);
    fl_buf_init(&out, OUTPUT_FLUSH + CONTROL_CHANNEL_ANSWER_MAX);
    int result = fl_buf_reserve(&in, in.max);
    while (result == 0) {
        ssize_t count = read(settings->channel, in.data + in.len, in.max - in.len);
        if (count == 0)
            return 0;
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -errno;
        in.len += (size_t)count;
        result = answer_all(settings, &in, &out);
    }
    return result;
}

static int tell(int channel, const struct control_channel_message *message)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf out;
    fl_buf_init(&out, CONTROL_CHANNEL_ANSWER_MAX);
    int result = control_channel_write(message, &out);
    return result == 0 ? write_out(channel, &out) : result;
}

/* Signs once and lets it go: OpenSSL has everything that it reads or opens, and the key works. */
static int warm_up(const struct settings *settings, struct fl_err *err)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf key;
    FL_CLEANUP(fl_buf_done) struct fl_buf uri;
    FL_CLEANUP(fl_buf_done) struct fl_buf answer;
    const struct fl_identity anybody = {fl_span_str(settings->signer.trust_domain), FL_SPAN("a"), FL_SPAN("a")};
    fl_buf_init(&key, FL_KEY_PUBLIC_MAX);
    fl_buf_init(&uri, FL_IDENTITY_MAX);
    fl_buf_init(&answer, CONTROL_CHANNEL_ANSWER_MAX);
    int result = fl_identity_print(&anybody, &uri, err);
    if (result < 0)
        return result;
    result = fl_key_print_public(settings->signer.root->key, &key);
    const struct control_channel_message request = {
        .kind = CONTROL_CHANNEL_SIGN, .identity = fl_buf_span(&uri), .key = fl_buf_span(&key)};
    if (result == 0)
        result = control_signer_answer(&settings->signer, &request, time(NULL), &answer);
    if (result < 0)
        return fl_err_errno(err, result, "the first signature");
    struct control_channel_message said;
    struct fl_span rest = fl_buf_span(&answer);
    if (control_channel_read(&rest, true, &said) != CONTROL_CHANNEL_MESSAGE || said.kind != CONTROL_CHANNEL_SIGNED)
        return fl_err_set(err, -EINVAL, "the first signature: %.*s", FL_SPAN_ARG(said.text));
    return 0;
}

static int load(const struct settings *settings, struct control_root *root, struct fl_err *err)
{
    return settings->stored
               ? control_root_load_stored(settings->folder, settings->overlap_s, time(NULL), root, err)
               : control_root_load(settings->folder, settings->given, settings->overlap_s, time(NULL), root, err);
}

static int start(struct settings *settings, struct control_root *root, struct fl_err *err)
{
    bool isolated;
    time_t from, to;
    int result = control_jail_enter(settings->channel, &isolated, err);
    if (result == 0)
        result = load(settings, root, err);
    if (result < 0)
        return result;
    settings->signer.root = root;
    result = warm_up(settings, err);
    if (result == 0)
        result = control_jail_lock(settings->channel, err);
    if (result < 0)
        return result;
    fl_cert_validity(root->cert, &from, &to);
    const struct control_channel_message ready = {.kind = CONTROL_CHANNEL_READY,
                                                  .not_after = (uint64_t)to,
                                                  .changes = (uint64_t)root->changes,
                                                  .isolated = isolated,
                                                  .bundle = fl_buf_span(&root->bundle)};
    result = tell(settings->channel, &ready);
    return result < 0 ? fl_err_errno(err, result, "the channel") : 0;
}

int control_issuer_main(int argc, char **argv)
{
    struct settings settings = {.channel = -1};
    struct control_root root = {0};
    struct fl_err err = {0};
    if (!read_options(argc, argv, &settings))
        _exit(2);
    int result = start(&settings, &root, &err);
    const struct control_channel_message failed = {.kind = CONTROL_CHANNEL_FAILED, .text = fl_span_str(err.text)};
    if (result == 0)
        result = serve(&settings);
    else if (tell(settings.channel, &failed) < 0) /* the exit status has to do */
        result = -EPIPE;
    /* At once: nothing is flushed, and no handler of a library runs behind the filter. */
    _exit(result < 0 ? 1 : 0);
}
