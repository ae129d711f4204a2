/* The Secrets of the certificate authority, as a folder in memory: a child (the courier) reads them from the API
 * server, makes and rotates the self-made one, and writes them as files that the issuer reads. No key passes through
 * this process: it hears "changed" and, where something fails, why.
 *
 * The folder is made under /run/fairlead (where that is ours to write), else /dev/shm, unless it is named, 0700, and is
 * removed with all in it when this ends, also by force (then by the courier). The Secrets are looked at every
 * CONTROL_STORAGE_LOOK_MS.
 */
#ifndef CONTROL_CA_STORAGE_H
#define CONTROL_CA_STORAGE_H

#include "common/base/cleanup.h"
#include "common/base/err.h"

#include <stdint.h>
#include <sys/types.h>

struct fl_loop;
struct control_storage;

#define CONTROL_STORAGE_LOOK_MS        10000
#define CONTROL_STORAGE_RETRY_MS       1000 /* after trouble; doubles up to the former */
#define CONTROL_STORAGE_BACKOFF_MS     100  /* before the courier is started again; doubles … */
#define CONTROL_STORAGE_BACKOFF_MAX_MS 30000

struct control_storage_options { /* texts are copied */
    struct fl_loop *loop;
    const char *program;                       /* whose "courier" command is the child; NULL: this program's */
    const char *folder;                        /* memory-backed, ours alone; NULL: one is made */
    const char *name_space, *secret, *cacerts; /* cacerts NULL: not looked at */
    const char *kubeconfig, *context;          /* NULL: the pod's service account */
    uint32_t overlap_s, validity_s;
    uint32_t root_life_s;            /* 0: ten years */
    uint32_t look_ms;                /* 0: CONTROL_STORAGE_LOOK_MS */
    void (*on_changed)(void *owner); /* files are new: the first time there is something to issue with */
    void (*on_trouble)(void *owner, const char *reason); /* once a reason; NULL: it is well again */
    void *owner;
};

/* Starts the courier. 0, -ENOMEM, or a negative errno of the folder with the reason. */
int control_storage_new(const struct control_storage_options *options, struct control_storage **ret_storage,
                        struct fl_err *err) FL_MUST_CHECK;
struct control_storage *control_storage_free(struct control_storage *storage);

const char *control_storage_folder(const struct control_storage *storage);
void control_storage_look(struct control_storage *storage);       /* now (SIGHUP) */
pid_t control_storage_pid(const struct control_storage *storage); /* of the courier; 0: none */

/* The child: the program's "courier" command, started by the above and by nobody else. Exit status. */
int control_courier_main(int argc, char **argv);

#endif
