/* The other half of install.h: taking ours out. Configuration first, everywhere; the plugin last. */
#include "cni/install/install.h"

#include "cni/install/owner.h"
#include "cni/install/rewrite.h"
#include "cni/install/wrapping.h"

#include <errno.h>
#include <poll.h>

#define ROUNDS_MAX    5    /* of taking out what another writer put back */
#define LOCK_WAIT_MS  2000 /* for another installer */
#define WHOLE_WAIT_MS 50   /* for another writer's half-written file */
#define BUSY_WAIT_MS  100  /* for a plugin that is running */
#define BUSY_ROUNDS   60   /* … so often: on a busy node a call may last for seconds, and the grace may be none */

/* Whether a file that no parser can read may name us all the same. */
static bool may_name_us(struct fl_span text)
{
    return text.len > 0 && memmem(text.data, text.len, CNI_CONFLIST_TYPE, sizeof(CNI_CONFLIST_TYPE) - 1) != NULL;
}

static int edit(const struct cni_disk *disk, const char *name, const struct cni_confdir_file *file,
                const struct cni_conflist_facts *facts, struct fl_err *err)
{
    struct cni_kept kept = CNI_KEPT_NONE;
    bool written;
    if (facts->plugins == 0)
        return cni_disk_remove(disk, name, err); /* nothing in it but ours */
    if (facts->wrapper)
        return cni_wrapping_restore(disk, name, file, facts->wrapped, err);
    int result = cni_rewrite(disk, name, file, cni_rewrite_remove, NULL, &kept, &written, err);
    cni_kept_done(&kept);
    return result;
}

/* 0, -EBUSY (cannot be read, and may name us), or a negative errno. *ret_named: ours was in it. */
static int clean_file(const struct cni_disk *disk, const char *name, bool *ret_named, struct fl_err *err)
{
    struct cni_confdir_file file = {0};
    struct cni_conflist_facts facts = {.plugins = 1};
    int result = cni_confdir_read(disk, name, &file, err);
    if (result == -ENOENT || result == -EINVAL || result == -ELOOP)
        return 0; /* gone, or nothing that a runtime could read */
    if (result < 0)
        return result;
    struct fl_span text = fl_buf_span(&file.text);
    result = cni_conflist_read(text, cni_confdir_is_list(name), &facts, err);
    bool readable = result == 0 || result == CNI_CONFLIST_UNFIT;
    bool named = readable ? facts.ours > 0 : may_name_us(text);
    if (result >= 0)
        result = named && file.symlink
                     ? fl_err_set(err, -ELOOP, "%s/%s is a symbolic link: take fairlead-cni out of it by hand",
                                  disk->path, name)
                 : named ? edit(disk, name, &file, &facts, err)
                         : 0;
    cni_confdir_file_done(&file);
    *ret_named |= named;
    if (result == -ENOENT)
        return 0;
    return result > 0 || result == -EAGAIN
               ? fl_err_set(err, -EBUSY, "%s/%s cannot be read, and may name fairlead-cni", disk->path, name)
               : result;
}

/* All files. What cannot be read does not keep the others. */
static int clean_folder(const struct cni_install_settings *settings, bool *ret_named, struct fl_err *err)
{
    FL_CLEANUP(cni_disk_close) struct cni_disk disk = CNI_DISK_CLOSED;
    struct cni_confdir confdir = {0};
    bool recovered;
    *ret_named = false;
    int result = cni_disk_open(settings->conf_dir, &disk, err);
    if (result == -ENOENT)
        return 0;
    if (result == 0)
        result = cni_disk_lock(&disk, LOCK_WAIT_MS, err);
    if (result > 0)
        return -EBUSY;
    if (result == 0)
        cni_rewrite_clear(&disk, settings->backend, &recovered);
    if (result == 0)
        result = cni_confdir_list(&disk, &confdir, err);
    for (size_t i = 0; i < confdir.count; i++) {
        struct fl_err why = {0};
        int cleaned = clean_file(&disk, confdir.names[i], ret_named, &why);
        if (cleaned == 0 || result < 0)
            continue;
        result = cleaned;
        if (err != NULL)
            *err = why;
    }
    cni_confdir_done(&confdir);
    return result;
}

static void wait_ms(unsigned ms)
{
    (void)poll(NULL, 0, ms < INT_MAX ? (int)ms : INT_MAX);
}

/* Until nobody names us, and has not for the grace: runtimes have read it by then, and calls under way have ended. */
static int clean(const struct cni_install_settings *settings, unsigned grace_ms, struct fl_err *err)
{
    bool named = false;
    int result = 0;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        result = clean_folder(settings, &named, err);
        if (result == 0 && round > 0 && !named)
            return 0;
        if (result < 0 && result != -EBUSY)
            return result;
        wait_ms(result == -EBUSY ? WHOLE_WAIT_MS : grace_ms);
    }
    return result < 0
               ? result
               : fl_err_set(err, -EBUSY, "%s: another writer puts fairlead-cni back each time", settings->conf_dir);
}

static int remove_payload(const struct cni_install_settings *settings, struct fl_err *err)
{
    int result = 0;
    for (int round = 0; round < BUSY_ROUNDS; round++) {
        result = cni_payload_remove(&settings->payload, err);
        /* not empty: an agent that is late puts something into the folder that is being removed */
        if (result != CNI_PAYLOAD_BUSY && result != -ENOTEMPTY)
            return result;
        wait_ms(BUSY_WAIT_MS);
    }
    return result < 0 ? result : -EBUSY;
}

int cni_install_remove(const struct cni_install_settings *settings, unsigned grace_ms, struct fl_err *err)
{
    FL_CLEANUP(cni_owner_done) struct cni_owner owner = CNI_OWNER_NOBODY;
    bool plugins = access(settings->payload.bin_dir, F_OK) == 0;
    int result = plugins ? cni_owner_take(settings->payload.bin_dir, CNI_OWNER_UNINSTALL, &owner, err) : 0;
    if (result == -ENOMEM)
        return result;
    /* an agent that runs does not notice then that it is to stand by: no reason to leave ours in place */
    result = clean(settings, grace_ms, err);
    if (result == 0 && plugins)
        result = cni_owner_remove(settings->payload.bin_dir, err);
    if (result == 0 && plugins)
        result = remove_payload(settings, err);
    return result;
}
