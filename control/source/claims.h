/* Who has an object's name: of several documents with the same kind, namespace and name the first by (file, document)
 * is in force, the others are problems. Holds every object of every file in one sorted list, and tells the store what
 * changed.
 */
#ifndef CONTROL_SOURCE_CLAIMS_H
#define CONTROL_SOURCE_CLAIMS_H

#include "control/model/store.h"
#include "control/source/documents.h"

struct control_file { /* one file of the folder; owned by the directory */
    char *path;       /* relative to the folder */
    struct control_documents documents;
    bool changed; /* `documents` are new: `before` are what the claims still know */
    struct control_documents before;
};

struct control_claim {
    struct control_file *file;
    uint32_t index; /* into file->documents.objects */
};

struct control_claims {
    struct control_claim *items; /* by key, then path, then document */
    size_t count;
};

/* Brings the claims to the files (sorted by path; `changed` says which have new documents; those that went have none)
 * and puts and removes in the store. On success `before` of every changed file is empty and `changed` is off. 0;
 * -ENOMEM: nothing is taken over, and it may be tried again. */
int control_claims_update(struct control_claims *claims, struct control_file *const *files, size_t count,
                          struct control_store *store) FL_MUST_CHECK;
void control_claims_done(struct control_claims *claims);

/* All problems, duplicates included, and `extra` (of the folder as a whole; NULL: none) in front; NULL where there are
 * none. 0, -ENOMEM. */
int control_claims_problems(const struct control_claims *claims, struct control_file *const *files, size_t count,
                            const char *extra, size_t max, struct control_problems **ret_problems) FL_MUST_CHECK;

#endif
