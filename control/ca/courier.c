/* The child's side of storage.h: from the API server to the folder. Blocking and single-threaded, with a client of the
 * API of its own; it talks to nobody else. What it says: lines "changed", "trouble <reason>", "well". What it hears: a
 * byte is "look now", the end is the end.
 */
#include "common/base/backoff.h"
#include "common/base/file.h"
#include "common/loop/loop.h"
#include "control/ca/jail.h"
#include "control/ca/storage.h"
#include "control/ca/vault.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE_MAX_BYTES 512

struct courier {
    int channel;
    const char *folder, *kubeconfig, *context;
    struct control_vault_options vault;
    uint32_t look_ms, retry_ms;
    struct fl_kube_client *client;
    struct control_stored own; /* as it was read last */
    bool told;                 /* "changed" has been said */
    char trouble[LINE_MAX_BYTES];
};

enum option_id {
    OPTION_CHANNEL = 256,
    OPTION_FOLDER,
    OPTION_NAMESPACE,
    OPTION_SECRET,
    OPTION_CACERTS,
    OPTION_OVERLAP,
    OPTION_VALIDITY,
    OPTION_ROOT_LIFE,
    OPTION_LOOK,
    OPTION_KUBECONFIG,
    OPTION_CONTEXT
};

static const struct option options[] = {
    {"channel", required_argument, NULL, OPTION_CHANNEL},
    {"folder", required_argument, NULL, OPTION_FOLDER},
    {"namespace", required_argument, NULL, OPTION_NAMESPACE},
    {"secret", required_argument, NULL, OPTION_SECRET},
    {"cacerts", required_argument, NULL, OPTION_CACERTS},
    {"overlap", required_argument, NULL, OPTION_OVERLAP},
    {"validity", required_argument, NULL, OPTION_VALIDITY},
    {"root-life", required_argument, NULL, OPTION_ROOT_LIFE},
    {"look", required_argument, NULL, OPTION_LOOK},
    {"kubeconfig", required_argument, NULL, OPTION_KUBECONFIG},
    {"context", required_argument, NULL, OPTION_CONTEXT},
    {NULL, 0, NULL, 0},
};

static bool take_number(const char *text, uint32_t *ret_number)
{
    uint64_t number;
    if (!fl_span_to_u64(fl_span_str(text), INT_MAX, &number))
        return false;
    *ret_number = (uint32_t)number;
    return true;
}

static bool take_option(int option, struct courier *courier)
{
    uint32_t number = 0;
    const struct {
        int option;
        const char **text;
    } texts[] = {
        {OPTION_FOLDER, &courier->folder},         {OPTION_NAMESPACE, &courier->vault.name_space},
        {OPTION_SECRET, &courier->vault.secret},   {OPTION_CACERTS, &courier->vault.cacerts},
        {OPTION_KUBECONFIG, &courier->kubeconfig}, {OPTION_CONTEXT, &courier->context},
    };
    for (size_t i = 0; i < FL_COUNT(texts); i++) {
        if (texts[i].option == option)
            return *texts[i].text = optarg, true;
    }
    if (option == '?' || !take_number(optarg, &number))
        return false;
    switch (option) {
    case OPTION_CHANNEL:
        courier->channel = (int)number;
        return true;
    case OPTION_OVERLAP:
        courier->vault.overlap_s = number;
        return true;
    case OPTION_VALIDITY:
        courier->vault.validity_s = number;
        return true;
    case OPTION_ROOT_LIFE:
        courier->vault.root_life_s = number;
        return true;
    default:
        courier->look_ms = number;
        return true;
    }
}

static bool read_options(int argc, char **argv, struct courier *courier)
{
    int option;
    optind = 0; /* the arguments are not the program's own */
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (!take_option(option, courier))
            return false;
    }
    return optind == argc && courier->channel > STDERR_FILENO && courier->folder != NULL &&
           courier->vault.name_space != NULL && courier->vault.secret != NULL && courier->look_ms > 0;
}

/* --- the folder --- */

static bool is_same(const char *folder, const char *name, struct fl_span wanted)
{
    FL_CLEANUP(fl_buf_wipe) struct fl_buf there;
    fl_buf_init(&there, CONTROL_STORED_FILE_MAX);
    int result = fl_buf_reserve(&there, CONTROL_STORED_FILE_MAX);
    if (result == 0)
        result = fl_file_read(folder, name, FL_FILE_OWNER_ALONE, &there, NULL);
    return wanted.len == 0 ? result == -ENOENT : result == 0 && fl_span_eq(fl_buf_span(&there), wanted);
}

/* An empty one is taken away. */
static int put_file(const struct courier *courier, const char *name, struct fl_span content, bool *changed,
                    struct fl_err *err)
{
    char path[PATH_MAX];
    if (is_same(courier->folder, name, content))
        return 0;
    *changed = true;
    int result = fl_file_path(courier->folder, name, path, err);
    if (result < 0)
        return result;
    if (content.len > 0)
        return fl_file_write(path, content, 0600, false, err);
    return unlink(path) != 0 && errno != ENOENT ? fl_err_errno(err, -errno, "%s", path) : 0;
}

static int deliver(const struct courier *courier, const struct control_stored *own, const struct control_stored *given,
                   bool *changed, struct fl_err *err)
{
    char since[32] = "";
    int result = 0;
    for (size_t i = 0; i < CONTROL_STORED_FILES && result == 0; i++)
        result = put_file(courier, control_stored_name(i),
                          fl_buf_span(i < CONTROL_ROOTS_MAX ? &own->files[i] : &given->files[i]), changed, err);
    if (given->there)
        snprintf(since, sizeof(since), "%lld", (long long)given->created);
    return result < 0 ? result : put_file(courier, CONTROL_GIVEN_SINCE, fl_span_str(since), changed, err);
}

static void clear_folder(const struct courier *courier)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < CONTROL_STORED_FILES; i++) {
        if (fl_file_path(courier->folder, control_stored_name(i), path, NULL) == 0)
            unlink(path);
    }
    if (fl_file_path(courier->folder, CONTROL_GIVEN_SINCE, path, NULL) == 0)
        unlink(path);
    rmdir(courier->folder);
}

/* --- what is said --- */

static void say(const struct courier *courier, const char *word, const char *text)
{
    char line[LINE_MAX_BYTES + 16];
    int len = snprintf(line, sizeof(line), "%s%s%.480s\n", word, text[0] != '\0' ? " " : "", text);
    for (char *at = line; at < line + len - 1; at++) {
        if (*at == '\n')
            *at = ' ';
    }
    if (send(courier->channel, line, (size_t)len, MSG_NOSIGNAL) < 0) {
        /* it is gone: the next look at the channel tells */
    }
}

static void tell(struct courier *courier, int result, bool changed, const struct fl_err *err)
{
    if (result == 0 && courier->trouble[0] != '\0')
        say(courier, "well", "");
    if (result < 0 && strcmp(courier->trouble, err->text) != 0)
        say(courier, "trouble", err->text);
    snprintf(courier->trouble, sizeof(courier->trouble), "%s", result < 0 ? err->text : "");
    if (result == 0 && (changed || !courier->told)) {
        say(courier, "changed", "");
        courier->told = true;
    }
}

static int look(struct courier *courier)
{
    struct control_stored own = {.there = false}, given = {.there = false};
    struct fl_err err = {0};
    bool changed = false;
    courier->vault.former = &courier->own;
    int result = control_vault_sync(courier->client, &courier->vault, false, &own, &given, &err);
    if (result == 0) {
        control_stored_done(&courier->own);
        courier->own = own;
        result = deliver(courier, &own, &given, &changed, &err);
    }
    tell(courier, result, changed, &err);
    control_stored_done(&given);
    return result;
}

/* False: the channel has ended. */
static bool await(const struct courier *courier, int ms)
{
    struct pollfd channel = {.fd = courier->channel, .events = POLLIN};
    char bytes[64];
    if (poll(&channel, 1, ms) <= 0)
        return true;
    ssize_t count = recv(courier->channel, bytes, sizeof(bytes), 0);
    return count > 0 || (count < 0 && errno == EINTR);
}

static void run(struct courier *courier)
{
    uint32_t retry_ms = CONTROL_STORAGE_RETRY_MS, wait_ms;
    do {
        bool well = look(courier) == 0;
        retry_ms = well ? CONTROL_STORAGE_RETRY_MS : retry_ms * 2;
        wait_ms = well || retry_ms > courier->look_ms ? courier->look_ms : retry_ms;
    } while (await(courier, (int)(wait_ms / 2 + fl_backoff_draw(wait_ms / 2))));
}

int control_courier_main(int argc, char **argv)
{
    struct courier courier = {.channel = -1};
    struct fl_loop *loop = NULL;
    struct fl_err err = {0};
    if (!read_options(argc, argv, &courier))
        return 2;
    int result = control_jail_shed(courier.channel, &err);
    if (result == 0 && (result = fl_loop_new(&loop)) < 0)
        fl_err_errno(&err, result, "cannot start");
    if (result == 0)
        result = control_vault_connect(loop, courier.kubeconfig, courier.context, &courier.client, &err);
    if (result == 0)
        run(&courier);
    else
        say(&courier, "trouble", err.text);
    fl_kube_client_free(courier.client);
    fl_loop_free(loop);
    control_stored_done(&courier.own);
    if (result == 0)
        clear_folder(&courier);
    return result < 0 ? 1 : 0;
}
