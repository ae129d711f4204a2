/* One file of the folder of configurations, edited under the eyes of its other writers.
 *
 * It is exchanged for its edited text in one step, and what comes out is compared with what was edited. Where another
 * writer was faster, its text is edited in turn; so nothing of anybody is lost, whoever comes last.
 */
#ifndef CNI_INSTALL_REWRITE_H
#define CNI_INSTALL_REWRITE_H

#include "cni/install/kept.h"

/* An edit: 0 with *ret_changed, an outcome of conflist.h, or a negative errno. */
typedef int cni_rewrite_edit(struct fl_span text, const char *backend, struct fl_buf *out, bool *ret_changed,
                             struct fl_err *err);
int cni_rewrite_insert(struct fl_span text, const char *backend, struct fl_buf *out, bool *ret_changed,
                       struct fl_err *err);
int cni_rewrite_remove(struct fl_span text, const char *backend, struct fl_buf *out, bool *ret_changed,
                       struct fl_err *err);

/* 0, an outcome of the edit (nothing was written, or what came out last cannot be edited: `ret_kept` has it then), or a
 * negative errno; -ENOENT where the file is gone, -EAGAIN where others kept being faster. *ret_written: whether a file
 * was replaced; then `ret_kept` is what came out (the caller's, CNI_KEPT_NONE before). */
int cni_rewrite(const struct cni_disk *disk, const char *name, const struct cni_confdir_file *file,
                cni_rewrite_edit *edit, const char *backend, struct cni_kept *ret_kept, bool *ret_written,
                struct fl_err *err) FL_MUST_CHECK;

/* What another writer put into a replaced file, under its name again, with ours in it. `kept` stays with
 * that writer's file, or goes on to a later one's. 0; an outcome (not whole yet); -ESTALE: something newer stands
 * there; or another negative errno. *ret_rescued: whether there was something to rescue. */
int cni_rewrite_rescue(const struct cni_disk *disk, struct cni_kept *kept, const char *backend, bool *ret_rescued,
                       struct fl_err *err) FL_MUST_CHECK;

/* Removes temporary files that killed installers left. Where one was killed between an exchange and its look at what
 * came out, another writer's list may lie there, which the one that stands was not made of: that is put in place first,
 * with ours in it (*ret_recovered). Nothing is told of what cannot be removed: it takes room, and nothing else. */
void cni_rewrite_clear(const struct cni_disk *disk, const char *backend, bool *ret_recovered);

#endif
