/* The editor of CNI network configurations: text in, text out. No files, no globals.
 *
 * Our plugin is chained at the end of `plugins`, kept there, and taken out again. Everything else is somebody else's
 * and stays byte for byte (white space, unknown members, the order of members, numbers as written, names that stand
 * twice): the text is never printed anew, an entry is put in and taken out by position. So a removal after an insertion
 * gives back the very bytes.
 *
 * A text is read as libcni (Go's encoding/json) reads it: of members that stand twice the last counts, a plugin's
 * "Type" is its type, invalid UTF-8 is taken, a byte order mark is not.
 *
 * A file that is no list (.conf, .json: one plugin) is wrapped: its bytes become the only element of a list, and the
 * wrapper remembers the file's name, so that it can be undone with nothing but itself.
 */
#ifndef CNI_INSTALL_CONFLIST_H
#define CNI_INSTALL_CONFLIST_H

#include "common/base/buf.h"
#include "common/base/err.h"

#define CNI_CONFLIST_BYTES_MAX  (1u << 20) /* of a text that is read; ours adds less than 1 KiB */
#define CNI_CONFLIST_DEPTH_MAX  256        /* levels of arrays and objects */
#define CNI_CONFLIST_TYPE       "fairlead-cni"
#define CNI_CONFLIST_CAPABILITY "io.kubernetes.cri.pod-annotations"
#define CNI_CONFLIST_NAME_MAX   255 /* of a network's name, as libcni allows, and of a wrapped file's */

/* Outcomes; err tells line, column and path. */
enum cni_conflist_outcome {
    CNI_CONFLIST_UNREADABLE = 1, /* no runtime can read it: half-written, or broken. It may be whole in a moment */
    CNI_CONFLIST_UNFIT = 2,      /* a runtime reads it, but our plugin cannot stand in it: a cniVersion that it does not
                                    speak, plugins that are in a folder, a network without a name */
};

/* What a text says. */
struct cni_conflist_facts {
    char name[CNI_CONFLIST_NAME_MAX + 1]; /* the network's; cut where it is longer */
    unsigned plugins;                     /* others than ours, in the list itself */
    unsigned ours;                        /* entries of ours, at any depth (Multus copies lists into its own) */
    /* Of a list made by cni_conflist_wrap, however it was changed since: the name of the file that was wrapped. Empty:
     * not such a list. */
    char wrapped[CNI_CONFLIST_NAME_MAX + 1];
    bool wrapper; /* such a list, and nobody has changed it but for chaining ours */
};

/* Each: 0, an outcome, or -ENOMEM, -EMSGSIZE. `list`: the file is a list (.conflist), else one plugin (.conf, .json).
 */
int cni_conflist_read(struct fl_span text, bool list, struct cni_conflist_facts *ret_facts,
                      struct fl_err *err) FL_MUST_CHECK;

/* `backend` below: "nftables" or "iptables", told to our plugin; NULL or "auto": it chooses, and nothing is written.
 *
 * Appends to `out` the list with exactly one entry of ours, the last. *ret_changed: false where it was so before
 * (`out` has the same bytes then). An entry that says the same in other words is left. */
int cni_conflist_insert(struct fl_span text, const char *backend, struct fl_buf *out, bool *ret_changed,
                        struct fl_err *err) FL_MUST_CHECK;

/* Appends the text without any entry of ours, at whatever depth. What is left may have no plugin at all (facts). */
int cni_conflist_remove(struct fl_span text, struct fl_buf *out, bool *ret_changed, struct fl_err *err) FL_MUST_CHECK;

/* One plugin's text as a list of one (ours not yet in it). `file`: its name, which the wrapper keeps. A cniVersion that
 * is missing or older than lists with results (0.3.0) becomes 0.3.1. */
int cni_conflist_wrap(struct fl_span text, const char *file, struct fl_buf *out, struct fl_err *err) FL_MUST_CHECK;
/* The bytes that were wrapped, inside `text`, from which ours has been removed. CNI_CONFLIST_UNFIT: not such a text. */
int cni_conflist_unwrap(struct fl_span text, struct fl_span *ret_inner, struct fl_err *err) FL_MUST_CHECK;

/* Our own file, for a meta plugin (Multus) that finds it by name: one plugin, no chain. 0, -ENOMEM, -EMSGSIZE. */
int cni_conflist_standalone(const char *backend, struct fl_buf *out) FL_MUST_CHECK;

#endif
