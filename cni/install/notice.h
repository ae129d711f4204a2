/* What changed in the installer's folders: inotify on the configurations, the plugins and the plugin's versions, and on
 * files that were replaced (kept.h). No loop in it: whoever has one waits for `fd` and asks.
 *
 * Folders may be absent, come, go and be replaced: cni_notice_refresh looks whether the path still is what is watched.
 * Without inotify (limits of the user's instances and watches) names, sizes and times are compared instead.
 */
#ifndef CNI_INSTALL_NOTICE_H
#define CNI_INSTALL_NOTICE_H

#include "cni/install/disk.h"

enum cni_notice_what {
    CNI_NOTICE_CONFIG = 1,   /* a configuration of anybody */
    CNI_NOTICE_PLUGIN = 2,   /* something of the plugin's */
    CNI_NOTICE_OWNER = 4,    /* the owner's file (owner.h) */
    CNI_NOTICE_KEPT = 8,     /* a file that was replaced */
    CNI_NOTICE_OVERFLOW = 16 /* events were lost: with all of the above */
};

enum cni_notice_folder { CNI_NOTICE_CONF_DIR, CNI_NOTICE_BIN_DIR, CNI_NOTICE_VERSIONS, CNI_NOTICE_FOLDERS };

struct cni_notice {
    int fd;         /* to wait for (readable); -1: there is no inotify */
    bool polling;   /* not all that is to be watched is watched */
    int poll_errno; /* why */
    struct cni_notice_place {
        char path[PATH_MAX];
        int watch; /* -1: none */
        dev_t device;
        ino_t inode;
        uint64_t signature; /* for polling */
    } folders[CNI_NOTICE_FOLDERS];
};

/* 0, or -ENAMETOOLONG. Nothing is watched yet: cni_notice_refresh. */
int cni_notice_init(struct cni_notice *notice, const char *conf_dir, const char *bin_dir,
                    struct fl_err *err) FL_MUST_CHECK;
void cni_notice_done(struct cni_notice *notice);

/* Watches what is there, under its path, by now. Returns what may have changed unseen (cni_notice_what). */
unsigned cni_notice_refresh(struct cni_notice *notice);
/* Whether all folders are there. (What is absent is asked for more often.) */
bool cni_notice_is_whole(const struct cni_notice *notice);
/* Takes all events; returns what they are about. */
unsigned cni_notice_read(struct cni_notice *notice);
/* Compares with the last time; returns what differs. For a notice that is polling. */
unsigned cni_notice_poll(struct cni_notice *notice);

/* Watches an open file whatever it is called; -1: not (it is to be looked at by time). */
int cni_notice_add_file(struct cni_notice *notice, int fd);
void cni_notice_remove_file(struct cni_notice *notice, int watch);

#endif
