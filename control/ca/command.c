#include "control/ca/command.h"

#include "common/base/file.h"
#include "common/kube/kubeconfig.h"
#include "common/kube/object.h"
#include "common/mesh/label.h"
#include "control/ca/root.h"
#include "control/ca/token.h"
#include "control/ca/vault.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>

#define EXIT_USAGE  2
#define TTL_DEFAULT 43200 /* as the kubelet's tokens (common/mesh/container.h) */
#define TTL_MAX     31622400

static const char token_usage[] =
    "usage: fairlead-control token create --token-dir DIR --namespace NAME --service-account NAME [option …]\n"
    "\n"
    "  --token-dir DIR         holds the key that tokens are signed with; made where there is none\n"
    "  --audience TEXT         whom the token is for; default " FL_TOKEN_AUDIENCE "\n"
    "  --ttl SECONDS           default 43200\n"
    "  --out FILE              written whole, 0600; default: the standard output\n";

static const char ca_usage[] =
    "usage: fairlead-control ca rotate --ca-dir DIR\n"
    "       fairlead-control ca rotate --ca-secret NAME [--namespace NAME] [--kubeconfig FILE] [--context NAME]\n"
    "\n"
    "Puts the next root beside those in the folder, or the Secret. The trust bundle has it at once; it issues once\n"
    "the overlap is over (--ca-overlap of the control plane). In a Secret this comes by itself before a root ends, "
    "and\n"
    "old roots go when nothing that they signed is valid any more.\n"
    "\n"
    "  --ca-secret NAME        of the control plane's option of that name, as a rule fairlead-ca\n"
    "  --cacerts-secret NAME   default cacerts: where that one is there it issues, and nothing is rotated here\n"
    "  --namespace NAME        of both (default fairlead-system)\n"
    "  --kubeconfig FILE       default: $KUBECONFIG, ~/.kube/config, the pod's service account\n";

struct token_settings {
    const char *folder, *name_space, *service_account, *audience, *out;
    uint64_t ttl;
};

static const struct option token_options[] = {
    {"token-dir", required_argument, NULL, 'd'},
    {"namespace", required_argument, NULL, 'n'},
    {"service-account", required_argument, NULL, 's'},
    {"audience", required_argument, NULL, 'a'},
    {"ttl", required_argument, NULL, 't'},
    {"out", required_argument, NULL, 'o'},
    {NULL, 0, NULL, 0},
};

static bool take_option(int option, struct token_settings *settings)
{
    switch (option) {
    case 'd':
        settings->folder = optarg;
        return true;
    case 'n':
        settings->name_space = optarg;
        return true;
    case 's':
        settings->service_account = optarg;
        return true;
    case 'a':
        settings->audience = optarg;
        return true;
    case 'o':
        settings->out = optarg;
        return true;
    case 't':
        return fl_span_to_u64(fl_span_str(optarg), TTL_MAX, &settings->ttl) && settings->ttl > 0;
    default:
        return false;
    }
}

static bool wants_help(int argc, char **argv, const char *usage)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return fputs(usage, stdout) >= 0;
    return false;
}

static bool is_command(int argc, char **argv, const char *command)
{
    return argc >= 2 && fl_span_eq_str(fl_span_str(argv[1]), command);
}

static bool read_options(int argc, char **argv, struct token_settings *settings)
{
    int option;
    optind = 0;
    while ((option = getopt_long(argc, argv, "", token_options, NULL)) != -1) {
        if (!take_option(option, settings))
            return false;
    }
    return optind == argc && settings->folder != NULL && settings->name_space != NULL &&
           settings->service_account != NULL;
}

static int write_token(const struct token_settings *settings, struct fl_buf *token, struct fl_err *err)
{
    int result = fl_buf_append_byte(token, '\n');
    if (result < 0)
        return fl_err_errno(err, result, "token");
    if (settings->out != NULL)
        return fl_file_write(settings->out, fl_buf_span(token), 0600, false, err);
    size_t written = fwrite(token->data, 1, token->len, stdout);
    return written != token->len || fflush(stdout) != 0 ? fl_err_set(err, -EIO, "standard output: cannot be written")
                                                        : 0;
}

static int create_token(const struct token_settings *settings, struct fl_err *err)
{
    FL_CLEANUP(fl_cleanup_key) struct fl_key *key = NULL;
    FL_CLEANUP(fl_buf_wipe) struct fl_buf token;
    struct control_caller caller = {.expires = time(NULL) + (time_t)settings->ttl};
    fl_buf_init(&token, CONTROL_TOKEN_MAX + 1);
    int a = snprintf(caller.name_space, sizeof(caller.name_space), "%s", settings->name_space);
    int b = snprintf(caller.service_account, sizeof(caller.service_account), "%s", settings->service_account);
    if (a < 0 || (size_t)a >= sizeof(caller.name_space) || b < 0 || (size_t)b >= sizeof(caller.service_account))
        return fl_err_set(err, -EINVAL, "a name is too long");
    int result = control_token_key_open(settings->folder, &key, err);
    if (result == 0)
        result = control_token_make(key, &caller, settings->audience, time(NULL), &token, err);
    return result == 0 ? write_token(settings, &token, err) : result;
}

int control_token_main(int argc, char **argv)
{
    struct token_settings settings = {.audience = FL_TOKEN_AUDIENCE, .ttl = TTL_DEFAULT};
    struct fl_err err = {0};
    if (wants_help(argc, argv, token_usage))
        return EXIT_SUCCESS;
    if (!is_command(argc, argv, "create") || !read_options(argc - 1, argv + 1, &settings)) {
        fputs(token_usage, stderr);
        return EXIT_USAGE;
    }
    if (create_token(&settings, &err) == 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "fairlead-control: %s\n", err.text);
    return EXIT_FAILURE;
}

struct rotate_settings {
    const char *folder, *secret, *cacerts, *name_space, *kubeconfig, *context;
};

static bool read_rotate_options(int argc, char **argv, struct rotate_settings *settings)
{
    static const struct option options[] = {
        {"ca-dir", required_argument, NULL, 'd'},
        {"ca-secret", required_argument, NULL, 's'},
        {"cacerts-secret", required_argument, NULL, 'g'},
        {"namespace", required_argument, NULL, 'n'},
        {"kubeconfig", required_argument, NULL, 'k'},
        {"context", required_argument, NULL, 'c'},
        {NULL, 0, NULL, 0},
    };
    const char **texts[] = {['d'] = &settings->folder,     ['s'] = &settings->secret,     ['g'] = &settings->cacerts,
                            ['n'] = &settings->name_space, ['k'] = &settings->kubeconfig, ['c'] = &settings->context};
    int option;
    optind = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == '?')
            return false;
        *texts[option] = optarg;
    }
    return optind == argc && (settings->folder == NULL) != (settings->secret == NULL) &&
           fl_is_dns_label(fl_span_str(settings->name_space)) && fl_is_dns_subdomain(fl_span_str(settings->cacerts)) &&
           (settings->secret == NULL || fl_is_dns_subdomain(fl_span_str(settings->secret)));
}

/* Old roots are the control plane's to drop: it knows how long what they signed is valid. */
static int rotate_secret(const struct rotate_settings *settings, struct fl_err *err)
{
    const struct control_vault_options options = {.name_space = settings->name_space,
                                                  .secret = settings->secret,
                                                  .cacerts = settings->cacerts,
                                                  .overlap_s = INT32_MAX,
                                                  .validity_s = INT32_MAX};
    struct control_stored own = {.there = false}, given = {.there = false};
    struct fl_kube_access access = {0};
    struct fl_kube_client *client = NULL;
    struct fl_loop *loop = NULL;
    int result = fl_kube_find(settings->kubeconfig, settings->context, NULL, &access, err);
    if (result < 0)
        return result;
    result = fl_loop_new(&loop);
    if (result < 0) {
        fl_kube_access_done(&access);
        return fl_err_errno(err, result, "start");
    }
    result = fl_kube_client_new(loop, &access, "fairlead-control-ca/" FL_VERSION, &client, err);
    if (result == 0)
        result = control_vault_sync(client, &options, true, &own, &given, err);
    control_stored_done(&own);
    control_stored_done(&given);
    fl_kube_client_free(client);
    fl_loop_free(loop);
    return result;
}

int control_ca_main(int argc, char **argv)
{
    struct rotate_settings settings = {.cacerts = "cacerts", .name_space = "fairlead-system"};
    struct fl_err err = {0};
    if (wants_help(argc, argv, ca_usage))
        return EXIT_SUCCESS;
    if (!is_command(argc, argv, "rotate") || !read_rotate_options(argc - 1, argv + 1, &settings)) {
        fputs(ca_usage, stderr);
        return EXIT_USAGE;
    }
    int result = settings.folder != NULL ? control_root_rotate(settings.folder, time(NULL), &err)
                                         : rotate_secret(&settings, &err);
    if (result == 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "fairlead-control: %s\n", err.text);
    return EXIT_FAILURE;
}
