/* The plugin's files on the host: a launcher, and each version in a folder of its own.
 *
 *   <bin_dir>/fairlead-cni                            static; the name of its folder stands in its bytes (the slot)
 *   <bin_dir>/fairlead-cni.d/<version>-<digest>/      loader, libc, libmnl, libcjson, the program
 *
 * The digest is of the files, so a folder's name says what is in it: an upgrade never writes into the folder of another
 * version, and a roll-back names a folder that may still be there. The launcher is replaced last, in one step. A plugin
 * that runs holds a shared lock on its folder (cni/launcher); only unlocked folders, which the launcher does not
 * name, are removed. All writing goes through cni/install/disk, under the lock of bin_dir.
 *
 * Outcomes of all functions: 0, CNI_PAYLOAD_DIFFERS (check), CNI_PAYLOAD_BUSY (another installer held the lock for all
 * of CNI_PAYLOAD_WAIT_MS: try again), or a negative errno; the text names the path and what to do.
 */
#ifndef CNI_INSTALL_PAYLOAD_H
#define CNI_INSTALL_PAYLOAD_H

#include "common/base/cleanup.h"
#include "common/base/err.h"

#include <stddef.h>

#define CNI_PAYLOAD_LAUNCHER "fairlead-cni"   /* in bin_dir: the plugin's type in a conflist */
#define CNI_PAYLOAD_FOLDER   "fairlead-cni.d" /* in bin_dir; others may keep files there, folders are ours */

#define CNI_PAYLOAD_FILES_MAX      16          /* files of one version */
#define CNI_PAYLOAD_FILE_BYTES_MAX (16u << 20) /* of one file */
#define CNI_PAYLOAD_NAME_MAX       64          /* "<version>-<digest>" with its NUL */
#define CNI_PAYLOAD_WAIT_MS        1000        /* on the agent's loop too, where everything else waits meanwhile */

enum cni_payload_outcome {
    CNI_PAYLOAD_DIFFERS = 1, /* what is there is not, or not wholly, this payload */
    CNI_PAYLOAD_BUSY = 2,
};

struct cni_payload {
    const char *source;  /* a folder with `launcher` and `files/`, of an image or a build; both strings are borrowed */
    const char *bin_dir; /* an existing folder: where the runtime looks for plugins */
};

/* Puts this version in force. Idempotent: what is right already is not written. A damaged folder is repaired, file by
 * file; leftovers of killed installers are removed. Until the last step the version before stays in force. */
int cni_payload_install(const struct cni_payload *payload, struct fl_err *err) FL_MUST_CHECK;

/* Whether this very version is in force and whole. Writes nothing. The text says what differs. */
int cni_payload_check(const struct cni_payload *payload, struct fl_err *err) FL_MUST_CHECK;

/* Removes versions that neither the launcher names nor a running plugin uses, and what killed installers left.
 * Waits for no other installer: CNI_PAYLOAD_BUSY at once. `source` is not looked at. */
int cni_payload_prune(const struct cni_payload *payload, struct fl_err *err) FL_MUST_CHECK;

/* Removes the launcher, then every version that no running plugin uses, then fairlead-cni.d if it is empty. What is
 * still in use stays for the next call (then CNI_PAYLOAD_BUSY). `source` is not looked at. 0 where nothing is there. */
int cni_payload_remove(const struct cni_payload *payload, struct fl_err *err) FL_MUST_CHECK;

/* The name of this payload's version folder, "<version>-<digest>". */
int cni_payload_version(const struct cni_payload *payload, char ret_name[CNI_PAYLOAD_NAME_MAX],
                        struct fl_err *err) FL_MUST_CHECK;

/* Which version the launcher in bin_dir names: for people. 0, CNI_PAYLOAD_DIFFERS where there is none, or none of
 * ours. */
int cni_payload_in_force(const struct cni_payload *payload, char ret_name[CNI_PAYLOAD_NAME_MAX],
                         struct fl_err *err) FL_MUST_CHECK;

#endif
