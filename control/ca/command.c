#include "control/ca/command.h"

#include "common/base/file.h"
#include "common/mesh/label.h"
#include "control/ca/root.h"
#include "control/ca/token.h"

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
    "\n"
    "Puts the next root beside those in DIR. The trust bundle has it at once; it issues once\n"
    "the overlap is over (--ca-overlap of the control plane).\n";

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

int control_ca_main(int argc, char **argv)
{
    static const struct option options[] = {{"ca-dir", required_argument, NULL, 'd'}, {NULL, 0, NULL, 0}};
    const char *folder = NULL;
    struct fl_err err = {0};
    int option = -1;
    optind = 0;
    if (wants_help(argc, argv, ca_usage))
        return EXIT_SUCCESS;
    if (is_command(argc, argv, "rotate")) {
        while ((option = getopt_long(argc - 1, argv + 1, "", options, NULL)) == 'd')
            folder = optarg;
    }
    if (folder == NULL || option != -1 || optind != argc - 1) {
        fputs(ca_usage, stderr);
        return EXIT_USAGE;
    }
    if (control_root_rotate(folder, time(NULL), &err) == 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "fairlead-control: %s\n", err.text);
    return EXIT_FAILURE;
}
