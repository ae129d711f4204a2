/* The text of one file into objects and problems: multi-document YAML (or JSON), Lists taken apart. Sans-I/O, the
 * fuzzed half of the directory source.
 *
 * One document that is no YAML does not take the others with it: where the stream as a whole cannot be parsed, its
 * documents are parsed one by one (within CONTROL_DOCUMENTS_RETRY). One that may have been a policy of a kind that
 * fails closed (guess.h) leaves a closed one in its place, unless its last good version is known.
 *
 * Objects of other meshes and kinds of Gateway API that are not read are told (foreign.h); others are none of ours.
 */
#ifndef CONTROL_SOURCE_DOCUMENTS_H
#define CONTROL_SOURCE_DOCUMENTS_H

#include "control/model/model.h"
#include "control/model/reader.h"

#define CONTROL_DOCUMENTS_MAX     100000      /* of one file, items of Lists included */
#define CONTROL_DOCUMENTS_VALUES  (1u << 20)  /* scalars, arrays and objects of one file */
#define CONTROL_DOCUMENTS_TAGS    16          /* %TAG lines: libyaml takes quadratic time for them */
#define CONTROL_DOCUMENTS_RETRY   (32u << 20) /* bytes that parsing one by one may handle */
#define CONTROL_DOCUMENTS_GUESSES 100         /* texts of one file that are no YAML and close a policy of their own */
#define CONTROL_DOCUMENTS_ERRORS  100         /* problems of one file that are kept; the last one counts the rest */

struct control_document_object {
    struct control_object *object; /* counted */
    uint32_t document;             /* from 1 */
    bool in_force, kept;           /* for claims.h */
    bool guessed;                  /* closed for a text that is no YAML */
};

struct control_document_problem {
    char *text; /* owned */
    uint32_t document, line, column;
    bool known, kept;
    enum control_problem_reason reason;
    enum control_kind kind;
    char *name_space, *name; /* owned; where known */
};

struct control_documents {
    struct control_document_object *objects; /* by key, then document */
    size_t object_count;
    struct control_document_problem *problems;
    size_t problem_count;
    uint64_t more_problems; /* that were not kept */
    bool unnamed;           /* some problem is of no known object: the file as a whole, or a document without a name */
};

/* `name` is what the origin and errors say; `root` as in model/reader.h. 0, also where everything in it is wrong;
 * -ENOMEM. */
int control_documents_read(struct fl_span text, const char *name, struct fl_span root,
                           struct control_documents *ret_documents) FL_MUST_CHECK;
/* The whole file is a problem: could not be read, too large. 0, -ENOMEM. */
int control_documents_fail(const char *text, struct control_documents *ret_documents) FL_MUST_CHECK;
void control_documents_done(struct control_documents *documents);

/* What `before` had and `after` has a problem with in its place moves over, marked as kept: the last good version. */
int control_documents_keep(struct control_documents *before, struct control_documents *after) FL_MUST_CHECK;

#endif
