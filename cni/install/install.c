#include "cni/install/install.h"

#include "cni/install/rewrite.h"
#include "cni/install/wrapping.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#define ROUNDS_MAX   8   /* of looking and writing, until there is nothing to write */
#define LOCK_WAIT_MS 200 /* for another installer, which holds the lock for some milliseconds */
#define FILE_MODE    0644

struct pass {
    const struct cni_install_settings *settings;
    const struct cni_disk *disk;
    struct cni_install_report *report;
    struct cni_kept *kept;
    struct fl_err *err;
};

const char *cni_install_state_name(enum cni_install_state state)
{
    static const char *const names[] = {
#define CNI_INSTALL_NAME_(name, text) [CNI_INSTALL_##name] = text,
        CNI_INSTALL_STATES(CNI_INSTALL_NAME_)
#undef CNI_INSTALL_NAME_
    };
    return names[state];
}

static void set_state(struct cni_install_report *report, enum cni_install_state state, const struct fl_err *err)
{
    report->state = state;
    snprintf(report->reason, sizeof(report->reason), "%s", err != NULL ? err->text : "");
}

/* Of an outcome of conflist.h, or a negative errno. -ENOMEM comes back; anything else is in the report. */
static int set_failure(struct cni_install_report *report, int result, const struct fl_err *err)
{
    set_state(report,
              result == CNI_CONFLIST_UNREADABLE ? CNI_INSTALL_UNREADABLE
              : result == CNI_CONFLIST_UNFIT    ? CNI_INSTALL_UNFIT
                                                : CNI_INSTALL_FAILED,
              err);
    return result == -ENOMEM ? result : 0;
}

/* ---- the plugin ---- */

static bool plugin_is_there(const struct cni_install_settings *settings)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/" CNI_PAYLOAD_LAUNCHER, settings->payload.bin_dir);
    return length > 0 && (size_t)length < sizeof(path) && access(path, X_OK) == 0;
}

/* Versions that are still in use, or cannot be removed, are tried again next time: nothing depends on it. */
static void prune_payload(const struct cni_install_settings *settings)
{
    struct fl_err ignored = {0};
    if (cni_payload_prune(&settings->payload, &ignored) != 0)
        return;
}

/* 0; 1: it is not in force, and the report tells why. */
static int install_payload(const struct cni_install_settings *settings, struct cni_install_report *report,
                           struct fl_err *err)
{
    if (access(settings->payload.bin_dir, F_OK) != 0 && errno == ENOENT) {
        fl_err_set(err, -ENOENT, "%s is not there yet: no folder of plugins", settings->payload.bin_dir);
        set_state(report, CNI_INSTALL_WAITING, err);
        return 1;
    }
    int result = cni_payload_check(&settings->payload, err);
    if (result != 0 && result != CNI_PAYLOAD_BUSY) {
        result = cni_payload_install(&settings->payload, err);
        report->payload_written = result == 0;
    }
    if (result == -ENOMEM)
        return result;
    if (result != 0)
        set_state(report, CNI_INSTALL_FAILED, err);
    else
        prune_payload(settings);
    return result != 0;
}

/* ---- which file ---- */

/* CRI-O's choice: the first that it can read and whose network has this name. 0, or -ENOENT. */
static int choose_by_network(const struct pass *pass, const struct cni_confdir *confdir, char name[NAME_MAX + 1])
{
    for (size_t i = 0; i < confdir->count; i++) {
        struct cni_confdir_file file = {0};
        struct cni_conflist_facts facts = {0};
        if (cni_confdir_read(pass->disk, confdir->names[i], &file, NULL) < 0)
            continue;
        int result = cni_conflist_read(fl_buf_span(&file.text), cni_confdir_is_list(confdir->names[i]), &facts, NULL);
        cni_confdir_file_done(&file);
        if ((result == 0 || result == CNI_CONFLIST_UNFIT) && strcmp(facts.name, pass->settings->network) == 0) {
            memcpy(name, confdir->names[i], NAME_MAX + 1);
            return 0;
        }
    }
    return fl_err_set(pass->err, -ENOENT, "%s: no file with the network %s yet", pass->disk->path,
                      pass->settings->network);
}

static int choose_by_name(const struct pass *pass, const struct cni_confdir *confdir, char name[NAME_MAX + 1])
{
    const char *wanted = pass->settings->conflist;
    if (strlen(wanted) <= NAME_MAX && cni_confdir_has(confdir, wanted)) {
        memcpy(name, wanted, strlen(wanted) + 1);
        return 0;
    }
    /* wrapped already */
    if (cni_confdir_is_read(wanted) && cni_confdir_wrapper_name(wanted, name) && cni_confdir_has(confdir, name))
        return 0;
    return fl_err_set(pass->err, -ENOENT, "%s/%s is not there yet", pass->disk->path, wanted);
}

static int choose(const struct pass *pass, const struct cni_confdir *confdir, char name[NAME_MAX + 1])
{
    if (pass->settings->conflist != NULL)
        return choose_by_name(pass, confdir, name);
    if (pass->settings->network != NULL)
        return choose_by_network(pass, confdir, name);
    if (confdir->count == 0)
        return fl_err_set(pass->err, -ENOENT, "%s has no network configuration yet", pass->disk->path);
    memcpy(name, confdir->names[0], NAME_MAX + 1);
    return 0;
}

/* ---- chained ---- */

/* A file with nothing in it but ours: left of another mode. It would be a network without an interface. */
static bool is_ours_alone(const char *name, const struct cni_confdir_file *file)
{
    struct cni_conflist_facts facts = {0};
    int result = cni_conflist_read(fl_buf_span(&file->text), cni_confdir_is_list(name), &facts, NULL);
    return result == 0 && facts.plugins == 0 && facts.ours > 0;
}

/* 0: as it should be, or an outcome; -EAGAIN: something was written, look again; else a negative errno. */
static int edit(struct pass *pass, const struct cni_confdir *confdir, const char *name,
                const struct cni_confdir_file *file)
{
    bool written = false;
    int result;
    if (file->symlink) {
        fl_err_set(pass->err, -ELOOP, "%s/%s is a symbolic link: put the file itself there", pass->disk->path, name);
        return CNI_CONFLIST_UNFIT;
    }
    if (is_ours_alone(name, file)) {
        result = cni_disk_remove(pass->disk, name, pass->err);
        written = result == 0;
    } else if (cni_confdir_is_list(name)) {
        struct cni_kept kept = CNI_KEPT_NONE;
        result = cni_rewrite(pass->disk, name, file, cni_rewrite_insert, pass->settings->backend, &kept, &written,
                             pass->err);
        if (written && pass->kept != NULL) {
            cni_kept_done(pass->kept);
            *pass->kept = kept;
        } else {
            cni_kept_done(&kept);
        }
    } else {
        result = cni_wrapping_install(pass->disk, confdir, name, file, pass->settings->backend, pass->err);
        written = result == 0;
    }
    pass->report->conflist_written |= written;
    if (result == -ENOENT || result == -ESTALE)
        return -EAGAIN;
    if (result != 0 && result != -EAGAIN)
        fl_err_prefix(pass->err, "%s", name);
    return result == 0 && written ? -EAGAIN : result;
}

/* One look: the file that counts, edited where it has to be. As `edit`, and -ENOENT where there is none. */
static int look(struct pass *pass)
{
    struct cni_confdir confdir = {0};
    struct cni_confdir_file file = {0};
    char name[NAME_MAX + 1];
    pass->report->conflist[0] = '\0';
    int result = cni_confdir_list(pass->disk, &confdir, pass->err);
    if (result == 0)
        result = choose(pass, &confdir, name);
    if (result == 0) {
        memcpy(pass->report->conflist, name, strlen(name) + 1);
        result = cni_confdir_read(pass->disk, name, &file, pass->err);
        /* it may be gone again */
        result = result == -ENOENT ? -EAGAIN : result;
    }
    if (result == 0)
        result = edit(pass, &confdir, name, &file);
    cni_confdir_file_done(&file);
    cni_confdir_done(&confdir);
    return result;
}

static int chain(struct pass *pass)
{
    int result = -EAGAIN;
    for (int round = 0; round < ROUNDS_MAX && result == -EAGAIN; round++)
        result = look(pass);
    if (result == 0)
        set_state(pass->report, CNI_INSTALL_INSTALLED, NULL);
    else if (result == -ENOENT)
        set_state(pass->report, CNI_INSTALL_WAITING, pass->err);
    else
        return set_failure(pass->report, result, pass->err);
    return 0;
}

/* ---- standalone ---- */

static int write_own(struct pass *pass)
{
    FL_CLEANUP(fl_buf_done) struct fl_buf bytes;
    struct cni_confdir_file file = {0};
    const char *name = pass->settings->conflist != NULL ? pass->settings->conflist : CNI_INSTALL_STANDALONE_FILE;
    fl_buf_init(&bytes, CNI_CONFLIST_BYTES_MAX);
    if (strlen(name) > NAME_MAX || !cni_confdir_is_read(name) || cni_confdir_is_list(name))
        return fl_err_set(pass->err, -EINVAL, "%s: the name of a file of one plugin ends in .conf or .json", name);
    memcpy(pass->report->conflist, name, strlen(name) + 1);
    int result = cni_conflist_standalone(pass->settings->backend, &bytes);
    if (result < 0)
        return fl_err_errno(pass->err, result, "print the configuration");
    result = cni_confdir_read(pass->disk, name, &file, pass->err);
    bool same = result == 0 && !file.symlink && fl_span_eq(fl_buf_span(&file.text), fl_buf_span(&bytes));
    bool foreign = result == 0 && file.text.len > 0 && !is_ours_alone(name, &file);
    cni_confdir_file_done(&file);
    if (same)
        return 0;
    if (foreign) {
        fl_err_set(pass->err, -EEXIST, "%s/%s is somebody else's: name another file", pass->disk->path, name);
        return CNI_CONFLIST_UNFIT;
    }
    if (result < 0 && result != -ENOENT)
        return result;
    result = cni_disk_replace(pass->disk, name, fl_buf_span(&bytes), FILE_MODE, pass->err);
    pass->report->conflist_written = result == 0;
    return result;
}

/* ---- a pass ---- */

static int configure(const struct cni_install_settings *settings, struct cni_kept *kept,
                     struct cni_install_report *report, struct fl_err *err)
{
    FL_CLEANUP(cni_disk_close) struct cni_disk disk = CNI_DISK_CLOSED;
    struct pass pass = {.settings = settings, .disk = &disk, .report = report, .kept = kept, .err = err};
    int result = cni_disk_open(settings->conf_dir, &disk, err);
    if (result == -ENOENT) {
        fl_err_set(err, -ENOENT, "%s is not there yet: no folder of configurations", settings->conf_dir);
        set_state(report, CNI_INSTALL_WAITING, err);
        return 0;
    }
    if (result == 0)
        result = cni_disk_lock(&disk, LOCK_WAIT_MS, err);
    if (result != 0)
        return set_failure(report, result < 0 ? result : -EBUSY, err);
    cni_rewrite_clear(&disk, settings->backend, &report->conflist_written);
    if (settings->mode == CNI_INSTALL_CHAINED)
        return chain(&pass);
    result = write_own(&pass);
    if (result != 0)
        return set_failure(report, result, err);
    set_state(report, CNI_INSTALL_INSTALLED, NULL);
    return 0;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int cni_install_pass(const struct cni_install_settings *settings, unsigned parts, struct cni_kept *kept,
                     struct cni_install_report *ret, struct fl_err *err)
{
    struct fl_err why = {0};
    struct cni_install_report report = {.state = CNI_INSTALL_FAILED}, config = {.state = CNI_INSTALL_FAILED};
    uint64_t start = now_ns();
    int result = 0;
    if ((parts & CNI_INSTALL_PAYLOAD) != 0 || !plugin_is_there(settings))
        result = install_payload(settings, &report, &why);
    /* an older version that is in force is still better than none: it is named, whatever became of the new one */
    bool named = result == 0 || (result > 0 && plugin_is_there(settings));
    if (result >= 0 && (parts & CNI_INSTALL_CONFIG) != 0 && named) {
        int configured = configure(settings, kept, &config, &why);
        report.conflist_written = config.conflist_written;
        memcpy(report.conflist, config.conflist, sizeof(report.conflist));
        if (result == 0) {
            report.state = config.state;
            memcpy(report.reason, config.reason, sizeof(report.reason));
        }
        result = configured;
    } else if (result == 0) {
        report.state = CNI_INSTALL_INSTALLED;
    }
    if (result < 0) {
        if (err != NULL)
            *err = why;
        return result;
    }
    report.duration_ns = now_ns() - start;
    *ret = report;
    return 0;
}

int cni_install_reconcile(const struct cni_install_settings *settings, struct cni_install_report *ret,
                          struct fl_err *err)
{
    struct cni_kept kept = CNI_KEPT_NONE;
    int result = cni_install_pass(settings, CNI_INSTALL_PAYLOAD | CNI_INSTALL_CONFIG, &kept, ret, err);
    cni_kept_done(&kept);
    return result;
}
