#include "cni/install/watch.h"

#include "cni/install/confdir.h"
#include "cni/install/notice.h"
#include "cni/install/owner.h"
#include "cni/install/rewrite.h"
#include "cni/install/throttle.h"
#include "common/loop/timer.h"

#include <errno.h>
#include <stdio.h>

#define TICK_MS        1000
#define TICK_SHORT_MS  250 /* while a folder is absent, or without inotify */
#define FULL_MS        60000
#define RETRY_FIRST_MS 20
#define RETRY_LAST_MS  5000
#define KEPT_MAX       4
#define KEPT_MS        10000
#define KEPT_LOOK_MS   100
#define PARTS          (CNI_INSTALL_PAYLOAD | CNI_INSTALL_CONFIG)

struct kept_slot {
    struct cni_kept kept;
    int watch;
    uint64_t until_ms;
};

struct cni_watch {
    struct fl_loop *loop;
    struct cni_install_settings settings;
    void (*on_report)(void *owner, const struct cni_install_report *report);
    void *owner_context;

    struct fl_source source;
    struct fl_timer tick;   /* folders, owner, and each minute everything */
    struct fl_timer retry;  /* of what could not be done */
    struct fl_timer pause;  /* of the throttle */
    struct fl_timer rescue; /* files that were replaced */
    struct fl_hook report_hook;

    struct cni_notice notice;
    struct cni_owner owner;
    struct cni_throttle throttle;
    struct kept_slot kept[KEPT_MAX];
    unsigned pending; /* parts that wait for the end of a pause */
    uint32_t retry_ms;
    uint64_t full_at_ms;
    bool removed; /* uninstalled: nothing more is done */
    bool reported;
    struct cni_install_report report;
    struct cni_watch_counts counts;
};

static void run(struct cni_watch *watch, unsigned parts);

/* ---- telling ---- */

static void on_report_due(struct fl_hook *hook)
{
    struct cni_watch *watch = FL_CONTAINER_OF(hook, struct cni_watch, report_hook);
    watch->on_report(watch->owner_context, &watch->report); /* may free the watch */
}

static void tell(struct cni_watch *watch, const struct cni_install_report *report)
{
    bool news = !watch->reported || report->payload_written || report->conflist_written ||
                report->state != watch->report.state || strcmp(report->reason, watch->report.reason) != 0 ||
                strcmp(report->conflist, watch->report.conflist) != 0;
    watch->report = *report;
    if (!news)
        return;
    watch->reported = true;
    fl_hook_arm(watch->loop, &watch->report_hook);
}

static void tell_state(struct cni_watch *watch, enum cni_install_state state, const struct fl_err *err)
{
    struct cni_install_report report = watch->report;
    report.state = state;
    report.payload_written = report.conflist_written = false;
    report.duration_ns = 0;
    snprintf(report.reason, sizeof(report.reason), "%s", err->text);
    tell(watch, &report);
}

/* ---- files that were replaced: what another writer, who had one open, puts into it is not lost ---- */

static void kept_drop(struct cni_watch *watch, struct kept_slot *slot)
{
    cni_notice_remove_file(&watch->notice, slot->watch);
    slot->watch = -1;
    cni_kept_done(&slot->kept);
}

/* 0: nothing, or rescued; else as cni_rewrite_rescue. */
static int kept_rescue(struct cni_watch *watch, struct kept_slot *slot, bool *ret_rescued)
{
    FL_CLEANUP(cni_disk_close) struct cni_disk disk = CNI_DISK_CLOSED;
    *ret_rescued = false;
    int result = cni_disk_open(watch->settings.conf_dir, &disk, NULL);
    if (result == 0)
        result = cni_disk_lock(&disk, 0, NULL);
    if (result == 0)
        result = cni_rewrite_rescue(&disk, &slot->kept, watch->settings.backend, ret_rescued, NULL);
    return result;
}

static void kept_look(struct cni_watch *watch)
{
    uint64_t now = fl_loop_now_ms(watch->loop);
    bool any = false, rescued = false;
    for (size_t i = 0; i < KEPT_MAX; i++) {
        struct kept_slot *slot = &watch->kept[i];
        if (slot->kept.fd < 0)
            continue;
        int result = kept_rescue(watch, slot, &rescued);
        any |= rescued;
        watch->counts.rescued += rescued;
        if (result == -ESTALE || result == -ENOENT || now >= slot->until_ms)
            kept_drop(watch, slot);
    }
    if (any)
        run(watch, CNI_INSTALL_CONFIG);
}

static void on_rescue_due(struct fl_timer *timer)
{
    struct cni_watch *watch = FL_CONTAINER_OF(timer, struct cni_watch, rescue);
    kept_look(watch);
    for (size_t i = 0; i < KEPT_MAX; i++) {
        if (watch->kept[i].kept.fd >= 0) {
            fl_timer_set(watch->loop, timer, KEPT_LOOK_MS, on_rescue_due);
            return;
        }
    }
}

/* Takes it over; the one that is oldest makes room. */
static void kept_add(struct cni_watch *watch, struct cni_kept *kept)
{
    struct kept_slot *slot = &watch->kept[0];
    for (size_t i = 0; i < KEPT_MAX && slot->kept.fd >= 0; i++) {
        if (watch->kept[i].kept.fd < 0 || watch->kept[i].until_ms < slot->until_ms)
            slot = &watch->kept[i];
    }
    kept_drop(watch, slot);
    slot->kept = *kept;
    *kept = CNI_KEPT_NONE;
    slot->watch = cni_notice_add_file(&watch->notice, slot->kept.fd);
    slot->until_ms = fl_loop_now_ms(watch->loop) + KEPT_MS;
    if (!fl_timer_is_set(&watch->rescue))
        fl_timer_set(watch->loop, &watch->rescue, KEPT_LOOK_MS, on_rescue_due);
}

/* ---- a pass ---- */

static void on_retry_due(struct fl_timer *timer)
{
    run(FL_CONTAINER_OF(timer, struct cni_watch, retry), PARTS);
}

static void on_pause_due(struct fl_timer *timer)
{
    struct cni_watch *watch = FL_CONTAINER_OF(timer, struct cni_watch, pause);
    run(watch, watch->pending | CNI_INSTALL_CONFIG);
}

/* Whether this one is to do something. */
static bool owns(struct cni_watch *watch)
{
    struct fl_err err = {0};
    const char *bin_dir = watch->settings.payload.bin_dir;
    int result = watch->owner.taken ? cni_owner_check(bin_dir, &watch->owner, &err) : CNI_OWNER_DEAD;
    if (result == CNI_OWNER_DEAD)
        result = cni_owner_take(bin_dir, CNI_OWNER_AGENT, &watch->owner, &err);
    if (result == CNI_OWNER_OTHER)
        tell_state(watch, CNI_INSTALL_STANDBY, &err);
    if (result == CNI_OWNER_UNINSTALLED) {
        watch->removed = true;
        for (size_t i = 0; i < KEPT_MAX; i++)
            kept_drop(watch, &watch->kept[i]);
        tell_state(watch, CNI_INSTALL_REMOVED, &err);
    }
    /* where it cannot be written who owns, the pass itself will tell why */
    return result <= 0;
}

static void schedule_retry(struct cni_watch *watch, enum cni_install_state state)
{
    if (state != CNI_INSTALL_UNREADABLE && state != CNI_INSTALL_FAILED) {
        watch->retry_ms = 0;
        fl_timer_cancel(&watch->retry);
        return;
    }
    uint32_t next = watch->retry_ms == 0 ? RETRY_FIRST_MS : 2 * watch->retry_ms;
    watch->retry_ms = next < RETRY_LAST_MS ? next : RETRY_LAST_MS;
    fl_timer_set(watch->loop, &watch->retry, watch->retry_ms, on_retry_due);
}

static bool is_ciliums(const struct cni_watch *watch, const char *file)
{
    FL_CLEANUP(cni_disk_close) struct cni_disk disk = CNI_DISK_CLOSED;
    struct cni_confdir confdir = {0};
    bool cilium = strstr(file, "cilium") != NULL;
    if (cni_disk_open(watch->settings.conf_dir, &disk, NULL) == 0 && cni_confdir_list(&disk, &confdir, NULL) == 0)
        cilium |= confdir.cilium;
    cni_confdir_done(&confdir);
    return cilium;
}

static void explain_quarrel(const struct cni_watch *watch, struct cni_install_report *report)
{
    const char *hint = is_ciliums(watch, report->conflist)
                           ? ": Cilium owns this folder alone; set cni.exclusive=false in its values"
                           : ": find who writes it, and let that one keep other plugins";
    report->state = CNI_INSTALL_EXCLUSIVE;
    snprintf(report->reason, sizeof(report->reason), "another writer takes fairlead-cni out of %s each time%s",
             report->conflist, hint);
}

static void judge_quarrel(struct cni_watch *watch, struct cni_install_report *report)
{
    uint64_t now = fl_loop_now_ms(watch->loop);
    bool quarrel = watch->throttle.pause_ms > 0;
    if (report->conflist_written && cni_throttle_put_back(&watch->throttle, now)) {
        explain_quarrel(watch, report);
        fl_timer_set(watch->loop, &watch->pause, cni_throttle_wait(&watch->throttle, now), on_pause_due);
    } else if (quarrel && report->state == CNI_INSTALL_INSTALLED) {
        cni_throttle_kept(&watch->throttle, now);
    }
}

static void say_polling(const struct cni_watch *watch, struct cni_install_report *report)
{
    if (watch->notice.polling && report->reason[0] == '\0')
        snprintf(report->reason, sizeof(report->reason),
                 "no inotify (%s: see fs.inotify.max_user_instances and max_user_watches): looked at %d times a second",
                 strerrordesc_np(watch->notice.poll_errno), 1000 / TICK_SHORT_MS);
}

static void run(struct cni_watch *watch, unsigned parts)
{
    struct cni_install_report report;
    struct cni_kept kept = CNI_KEPT_NONE;
    struct fl_err err = {0};
    if (watch->removed || parts == 0 || !owns(watch))
        return;
    if (cni_throttle_wait(&watch->throttle, fl_loop_now_ms(watch->loop)) > 0) {
        watch->pending |= parts;
        return;
    }
    watch->pending = 0;
    int result = cni_install_pass(&watch->settings, parts, &kept, &report, &err);
    if (result < 0) {
        report = (struct cni_install_report){.state = CNI_INSTALL_FAILED};
        snprintf(report.reason, sizeof(report.reason), "%s", err.text);
    }
    watch->counts.passes++;
    watch->counts.payload_written += report.payload_written;
    watch->counts.conflist_written += report.conflist_written;
    if (kept.fd >= 0)
        kept_add(watch, &kept);
    judge_quarrel(watch, &report);
    schedule_retry(watch, report.state);
    (void)cni_notice_refresh(&watch->notice); /* the pass may have made the folder of versions */
    watch->counts.polling = watch->notice.polling;
    say_polling(watch, &report);
    tell(watch, &report);
}

/* ---- what brings it about ---- */

static unsigned parts_of(unsigned what)
{
    return ((what & CNI_NOTICE_CONFIG) != 0 ? CNI_INSTALL_CONFIG : 0) |
           ((what & CNI_NOTICE_PLUGIN) != 0 ? CNI_INSTALL_PAYLOAD | CNI_INSTALL_CONFIG : 0);
}

static void handle(struct cni_watch *watch, unsigned what)
{
    watch->counts.overflows += (what & CNI_NOTICE_OVERFLOW) != 0;
    if ((what & CNI_NOTICE_KEPT) != 0)
        kept_look(watch);
    unsigned parts = parts_of(what);
    if (parts != 0)
        run(watch, parts);
    else if ((what & CNI_NOTICE_OWNER) != 0 && !watch->removed)
        (void)owns(watch);
}

static void on_event(struct fl_source *source, uint32_t events)
{
    struct cni_watch *watch = FL_CONTAINER_OF(source, struct cni_watch, source);
    (void)events;
    unsigned what = cni_notice_read(&watch->notice);
    handle(watch, what | cni_notice_refresh(&watch->notice));
}

static void on_tick(struct fl_timer *timer)
{
    struct cni_watch *watch = FL_CONTAINER_OF(timer, struct cni_watch, tick);
    uint64_t now = fl_loop_now_ms(watch->loop);
    unsigned what = cni_notice_refresh(&watch->notice);
    if (watch->notice.polling)
        what |= cni_notice_poll(&watch->notice);
    /* one that stands by takes over as soon as it may */
    bool over = watch->report.state == CNI_INSTALL_STANDBY && owns(watch);
    if (now >= watch->full_at_ms || over) {
        watch->full_at_ms = now + FULL_MS;
        what |= CNI_NOTICE_PLUGIN;
    }
    bool often = watch->notice.polling || !cni_notice_is_whole(&watch->notice);
    fl_timer_set(watch->loop, timer, often ? TICK_SHORT_MS : TICK_MS, on_tick);
    handle(watch, what);
}

int cni_watch_new(struct fl_loop *loop, const struct cni_install_settings *settings,
                  void (*on_report)(void *owner, const struct cni_install_report *report), void *owner,
                  struct cni_watch **ret_watch, struct fl_err *err)
{
    struct cni_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return fl_err_errno(err, -ENOMEM, "watch the node");
    *watch = (struct cni_watch){.loop = loop,
                                .settings = *settings,
                                .on_report = on_report,
                                .owner_context = owner,
                                .owner = CNI_OWNER_NOBODY,
                                .report_hook = {.run = on_report_due},
                                .report = {.state = CNI_INSTALL_WAITING}};
    for (size_t i = 0; i < KEPT_MAX; i++)
        watch->kept[i] = (struct kept_slot){.kept = CNI_KEPT_NONE, .watch = -1};
    cni_throttle_init(&watch->throttle, fl_loop_now_ms(loop));
    int result = cni_notice_init(&watch->notice, settings->conf_dir, settings->payload.bin_dir, err);
    if (result == 0 && watch->notice.fd >= 0) {
        result = fl_source_add(loop, &watch->source, watch->notice.fd, EPOLLIN, on_event);
        if (result < 0) {
            fl_err_errno(err, result, "watch the node");
            cni_notice_done(&watch->notice);
        }
    }
    if (result < 0) {
        free(watch);
        return result;
    }
    fl_timer_set(loop, &watch->tick, 0, on_tick);
    *ret_watch = watch;
    return 0;
}

struct cni_watch *cni_watch_free(struct cni_watch *watch)
{
    if (watch == NULL)
        return NULL;
    fl_source_remove(&watch->source);
    fl_timer_cancel(&watch->tick);
    fl_timer_cancel(&watch->retry);
    fl_timer_cancel(&watch->pause);
    fl_timer_cancel(&watch->rescue);
    fl_hook_disarm(&watch->report_hook);
    for (size_t i = 0; i < KEPT_MAX; i++)
        cni_kept_done(&watch->kept[i].kept);
    cni_notice_done(&watch->notice);
    cni_owner_done(&watch->owner);
    free(watch);
    return NULL;
}

const struct cni_install_report *cni_watch_report(const struct cni_watch *watch)
{
    return &watch->report;
}

const struct cni_watch_counts *cni_watch_counts(const struct cni_watch *watch)
{
    return &watch->counts;
}
