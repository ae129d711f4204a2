#include "control/source/documents.h"

#include "common/doc/yaml.h"
#include "control/source/foreign.h"
#include "control/source/guess.h"

#include <errno.h>
#include <stdio.h>

#define FILE_BYTES_MAX (64u << 20) /* the caller's limit is lower */

/* -- lists that grow -------------------------------------------------------------------------------------------------
 */

/* Room for one more in an array of `count`: doubles at powers of two. */
static void *grow(void *items, size_t count, size_t size)
{
    if (count > 0 && (count & (count - 1)) != 0)
        return items;
    return realloc(items, (count > 0 ? count * 2 : 1) * size);
}

static int add_object(struct control_documents *documents, struct control_object *object, uint32_t document)
{
    struct control_document_object *objects = grow(documents->objects, documents->object_count, sizeof(*objects));
    if (objects == NULL)
        return -ENOMEM;
    documents->objects = objects;
    objects[documents->object_count++] = (struct control_document_object){object, document, false, false, false};
    return 0;
}

static void drop_problem(struct control_document_problem *problem)
{
    free(problem->text);
    free(problem->name_space);
    free(problem->name);
}

static int add_reason(struct control_documents *documents, enum control_problem_reason reason, const char *text,
                      uint32_t document, const struct control_identity *identity)
{
    struct control_document_problem problem = {.document = document, .reason = reason};
    documents->unnamed |= !control_problem_is_warning(reason) && (identity == NULL || !identity->known);
    if (documents->problem_count == CONTROL_DOCUMENTS_ERRORS) {
        documents->more_problems++;
        return 0;
    }
    struct control_document_problem *problems = grow(documents->problems, documents->problem_count, sizeof(*problems));
    if (problems == NULL)
        return -ENOMEM;
    documents->problems = problems;
    problem.text = fl_span_dup(fl_span_str(text));
    bool made = problem.text != NULL;
    if (identity != NULL) {
        problem.line = identity->position.line;
        problem.column = identity->position.column;
    }
    if (identity != NULL && identity->known) {
        problem.known = true;
        problem.kind = identity->key.kind;
        problem.name_space = fl_span_dup(identity->key.name_space);
        problem.name = fl_span_dup(identity->key.name);
        made = made && problem.name_space != NULL && problem.name != NULL;
    }
    if (!made) {
        drop_problem(&problem);
        return -ENOMEM;
    }
    problems[documents->problem_count++] = problem;
    return 0;
}

static int add_problem(struct control_documents *documents, const char *text, uint32_t document,
                       const struct control_identity *identity)
{
    return add_reason(documents, CONTROL_PROBLEM_INVALID, text, document, identity);
}

void control_documents_done(struct control_documents *documents)
{
    for (size_t i = 0; i < documents->object_count; i++)
        control_object_unref(documents->objects[i].object);
    for (size_t i = 0; i < documents->problem_count; i++)
        drop_problem(&documents->problems[i]);
    free(documents->objects);
    free(documents->problems);
    *documents = (struct control_documents){0};
}

static int add_closed(struct control_documents *documents, const struct control_object *object, uint32_t document,
                      const struct control_identity *identity)
{
    const char *closed = object->kind == CONTROL_MESH_SETTINGS ? "" : "; closed until it is mended";
    struct fl_err err = {0};
    fl_err_set(&err, -EINVAL, "%.*s%s", FL_SPAN_ARG(object->broken), closed);
    return add_reason(documents,
                      object->kind == CONTROL_MESH_SETTINGS ? CONTROL_PROBLEM_INVALID : CONTROL_PROBLEM_CLOSED,
                      err.text, document, identity);
}

/* -- documents -------------------------------------------------------------------------------------------------------
 */

struct reading {
    struct control_documents *documents;
    const struct fl_positions *positions;
    const char *name;
    struct fl_span root;
    uint32_t document;
    unsigned guesses;                     /* closed for what is no YAML */
    bool closed_rest[CONTROL_KIND_COUNT]; /* for everybody, as there are too many */
};

/* A policy that is not understood closes at once; settings do where no version before is known, as a guess does. */
static bool waits_for_better(const struct control_object *object)
{
    return object->kind == CONTROL_MESH_SETTINGS && object->broken.len > 0;
}

static int tell_foreign(struct reading *reading, const struct fl_json *document,
                        const struct control_identity *identity)
{
    struct fl_err err = {0};
    if (!control_foreign_tell(document, &err))
        return 0;
    fl_err_prefix(&err, "%s:%u:%u", reading->name, identity->position.line, identity->position.column);
    return add_reason(reading->documents, CONTROL_PROBLEM_NOT_READ, err.text, reading->document, identity);
}

static int read_one(struct reading *reading, const struct fl_json *document)
{
    const struct control_origin origin = {fl_span_str(reading->name), reading->document, 0, 0};
    struct control_object *object = NULL;
    struct control_identity identity;
    struct fl_err err = {0};
    if (reading->documents->object_count >= CONTROL_DOCUMENTS_MAX)
        return add_problem(reading->documents, "too many documents in one file", reading->document, NULL);
    int result = control_object_read(document, reading->positions, &origin, reading->root, &object, &identity, &err);
    if (result == -ENOMEM)
        return result;
    if (result < 0)
        return add_problem(reading->documents, err.text, reading->document, &identity);
    if (result != CONTROL_READ_OK)
        return tell_foreign(reading, document, &identity);
    if (object->ignored.len > 0)
        result =
            add_reason(reading->documents, CONTROL_PROBLEM_IGNORED, object->ignored.data, reading->document, &identity);
    if (result == 0)
        result = object->broken.len > 0 ? add_closed(reading->documents, object, reading->document, &identity) : 0;
    if (result == 0)
        result = add_object(reading->documents, object, reading->document);
    if (result < 0)
        control_object_unref(object);
    else
        reading->documents->objects[reading->documents->object_count - 1].guessed = waits_for_better(object);
    return result;
}

static int read_document(struct reading *reading, const struct fl_json *document)
{
    const struct fl_json *items = control_read_items(document);
    int result = 0;
    reading->document++;
    if (items == NULL)
        return read_one(reading, document);
    for (const struct fl_json *item = fl_json_first(items); item != NULL && result == 0; item = fl_json_next(item))
        result = read_one(reading, item);
    return result;
}

/* 0, -ENOMEM, or the parser's result with its text in *err. */
static int read_stream(struct reading *reading, struct fl_span text, struct fl_err *err)
{
    static const struct fl_json_limits limits = {.bytes_max = FILE_BYTES_MAX, .values_max = CONTROL_DOCUMENTS_VALUES};
    FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = NULL;
    int result = fl_yaml_parse(text, reading->name, &limits, &yaml, err);
    if (result < 0)
        return result;
    reading->positions = fl_yaml_positions(yaml);
    for (size_t i = 0; i < fl_yaml_count(yaml) && result == 0; i++)
        result = read_document(reading, fl_yaml_document(yaml, i));
    return result;
}

/* -- what is no YAML -------------------------------------------------------------------------------------------------
 */

static int close_guess(struct reading *reading, const struct control_key *key, const char *why)
{
    const struct control_origin origin = {fl_span_str(reading->name), reading->document, 0, 0};
    struct control_object *object = NULL;
    int result = control_object_close(key, &origin, reading->root, why, NULL, &object);
    if (result == 0)
        result = add_object(reading->documents, object, reading->document);
    if (result < 0) {
        control_object_unref(object);
        return result;
    }
    reading->documents->objects[reading->documents->object_count - 1].guessed = true;
    return 0;
}

/* Of very many broken policies not each has one of its own: one for everybody stands for the rest. */
static int close_text(struct reading *reading, struct fl_span text, enum control_kind kind, const char *why)
{
    struct control_key key;
    if (reading->closed_rest[kind] || !control_guess_policy(text, kind, &key))
        return 0;
    if (reading->guesses++ >= CONTROL_DOCUMENTS_GUESSES) {
        key = (struct control_key){kind, FL_SPAN(""), FL_SPAN("")};
        reading->closed_rest[kind] = true;
    }
    return close_guess(reading, &key, why);
}

/* A problem, and a closed policy where the text may have been one. */
static int refuse(struct reading *reading, struct fl_span text, const char *why)
{
    int result = add_problem(reading->documents, why, reading->document, NULL);
    for (enum control_kind kind = 0; kind < CONTROL_KIND_COUNT && result == 0; kind++)
        if (control_kind_closes(kind))
            result = close_text(reading, text, kind, why);
    return result;
}

/* -- one by one ------------------------------------------------------------------------------------------------------
 */

static bool is_separator(struct fl_span line)
{
    return fl_span_starts_with(line, FL_SPAN("---")) &&
           (line.len == 3 || line.data[3] == ' ' || line.data[3] == '\t' || line.data[3] == '\r');
}

/* Cuts the next document off *rest; *lines counts the line ends before it. */
static struct fl_span next_document(struct fl_span *rest, size_t *lines, size_t *ret_start_line)
{
    struct fl_span all = *rest, line;
    size_t used = 0;
    *ret_start_line = *lines;
    while (rest->data != NULL && rest->len > 0) {
        struct fl_span before = *rest;
        size_t end = fl_span_find(before, '\n');
        line = fl_span_make(before.data, end);
        if (used > 0 && is_separator(line))
            break;
        size_t step = end < before.len ? end + 1 : end;
        *rest = fl_span_from(before, step);
        used += step;
        *lines += end < before.len;
    }
    return fl_span_make(all.data, used);
}

/* The document behind as many line ends as stand before it, so that its positions are those of the file. */
static int read_alone(struct reading *reading, struct fl_span document, size_t start_line, size_t *budget)
{
    struct fl_buf text;
    struct fl_err err = {0};
    int result = 0;
    if (document.len + start_line > *budget) {
        reading->document++;
        return refuse(reading, document, "too much to look for its good documents one by one");
    }
    *budget -= document.len + start_line;
    fl_buf_init(&text, FILE_BYTES_MAX);
    result = fl_buf_reserve(&text, start_line + document.len + 1);
    for (size_t i = 0; i < start_line && result == 0; i++)
        result = fl_buf_append_byte(&text, '\n');
    if (result == 0)
        result = fl_buf_append(&text, document);
    if (result == 0)
        result = read_stream(reading, fl_buf_span(&text), &err);
    fl_buf_done(&text);
    if (result == 0 || result == -ENOMEM)
        return result;
    reading->document++;
    return refuse(reading, document, err.text);
}

static int read_one_by_one(struct reading *reading, struct fl_span text)
{
    size_t budget = CONTROL_DOCUMENTS_RETRY, lines = 0, start_line = 0;
    int result = 0;
    while (text.len > 0 && result == 0) {
        struct fl_span document = next_document(&text, &lines, &start_line);
        result = read_alone(reading, document, start_line, &budget);
    }
    return result;
}

/* -- a file ----------------------------------------------------------------------------------------------------------
 */

static size_t count_tags(struct fl_span text)
{
    size_t tags = 0;
    while (text.len > 0) {
        size_t end = fl_span_find(text, '\n');
        tags += fl_span_starts_with(fl_span_make(text.data, end), FL_SPAN("%TAG"));
        if (end == text.len)
            break;
        text = fl_span_from(text, end + 1);
    }
    return tags;
}

static int compare_objects(const void *a, const void *b)
{
    const struct control_document_object *one = a, *other = b;
    struct control_key key_a = control_object_key(one->object), key_b = control_object_key(other->object);
    int order = control_key_compare(&key_a, &key_b);
    return order != 0 ? order : one->document < other->document ? -1 : one->document > other->document;
}

static void sort(struct control_documents *documents)
{
    if (documents->object_count > 1)
        qsort(documents->objects, documents->object_count, sizeof(*documents->objects), compare_objects);
}

int control_documents_fail(const char *text, struct control_documents *ret_documents)
{
    *ret_documents = (struct control_documents){0};
    int result = add_problem(ret_documents, text, 0, NULL);
    if (result < 0)
        control_documents_done(ret_documents);
    return result;
}

static int read_text(struct fl_span text, struct reading *reading)
{
    struct fl_err err = {0};
    int result = read_stream(reading, text, &err);
    if (result == 0 || result == -ENOMEM)
        return result;
    if (result == -EINVAL && fl_span_find(text, '\n') < text.len) {
        control_documents_done(reading->documents);
        reading->document = 0;
        return read_one_by_one(reading, text);
    }
    control_documents_done(reading->documents);
    return refuse(reading, text, err.text);
}

int control_documents_read(struct fl_span text, const char *name, struct fl_span root,
                           struct control_documents *ret_documents)
{
    struct control_documents documents = {0};
    struct reading reading = {.documents = &documents, .name = name, .root = root};
    char tags[FL_ERR_TEXT_MAX];
    snprintf(tags, sizeof(tags), "%s: more than %d %%TAG lines", name, CONTROL_DOCUMENTS_TAGS);
    int result = count_tags(text) > CONTROL_DOCUMENTS_TAGS ? refuse(&reading, text, tags) : read_text(text, &reading);
    if (result < 0) {
        control_documents_done(&documents);
        return result;
    }
    sort(&documents);
    *ret_documents = documents;
    return 0;
}

/* -- last good versions ----------------------------------------------------------------------------------------------
 */

static int compare_key(const void *key, const void *object)
{
    struct control_key there = control_object_key(((const struct control_document_object *)object)->object);
    return control_key_compare(key, &there);
}

/* NULL: it has none of this key. */
static const struct control_document_object *find(const struct control_documents *documents,
                                                  const struct control_key *key)
{
    if (documents->object_count == 0)
        return NULL;
    return bsearch(key, documents->objects, documents->object_count, sizeof(*documents->objects), compare_key);
}

static bool has_key(const struct control_documents *documents, const struct control_key *key)
{
    return find(documents, key) != NULL;
}

/* A version that was read, not guessed. */
static bool has_good(const struct control_documents *documents, const struct control_key *key)
{
    const struct control_document_object *found = find(documents, key);
    return found != NULL && !found->guessed;
}

/* The problem by which an object of before is worth keeping; NULL: it went. */
static struct control_document_problem *problem_of(struct control_documents *after, const struct control_key *key)
{
    struct control_document_problem *unnamed = NULL;
    for (size_t i = 0; i < after->problem_count; i++) {
        struct control_document_problem *problem = &after->problems[i];
        if (control_problem_is_warning(problem->reason) || problem->reason == CONTROL_PROBLEM_EARLIER)
            continue;
        if (!problem->known)
            unnamed = unnamed != NULL ? unnamed : problem;
        else if (problem->kind == key->kind && fl_span_eq_str(key->name, problem->name) &&
                 fl_span_eq_str(key->name_space, problem->name_space))
            return problem;
    }
    return after->unnamed && unnamed == NULL && after->problem_count > 0 ? &after->problems[0] : unnamed;
}

static bool has_kind(const struct control_documents *documents, enum control_kind kind)
{
    for (size_t i = 0; i < documents->object_count; i++)
        if (documents->objects[i].object->kind == kind && !documents->objects[i].guessed)
            return true;
    return false;
}

/* The versions that were good are better than a guess; document 0 is one for the file as a whole. */
static void drop_guesses(const struct control_documents *before, struct control_documents *after)
{
    size_t kept = 0;
    for (size_t i = 0; i < after->object_count; i++) {
        struct control_key key = control_object_key(after->objects[i].object);
        if (after->objects[i].guessed &&
            (has_good(before, &key) || (after->objects[i].document == 0 && has_kind(before, key.kind))))
            control_object_unref(after->objects[i].object);
        else
            after->objects[kept++] = after->objects[i];
    }
    after->object_count = kept;
}

/* Where an object stood that the file as it is now may hold or not. */
static int tell_earlier(struct control_documents *after, const struct control_object *object, const char *why)
{
    const struct control_identity identity = {
        .known = true, .key = control_object_key(object), .position = {object->origin.line, object->origin.column}};
    struct fl_err err = {0};
    fl_err_set(&err, -EINVAL, "kept from an earlier version of the file, where it stood at line %u: %s",
               object->origin.line, why);
    return add_reason(after, CONTROL_PROBLEM_EARLIER, err.text, object->origin.document, &identity);
}

int control_documents_keep(struct control_documents *before, struct control_documents *after)
{
    drop_guesses(before, after);
    size_t own = after->object_count;
    for (size_t i = 0; i < before->object_count && after->problem_count > 0; i++) {
        struct control_key key = control_object_key(before->objects[i].object);
        struct control_documents found = {.objects = after->objects, .object_count = own};
        struct control_document_problem *problem =
            before->objects[i].guessed || has_key(&found, &key) ? NULL : problem_of(after, &key);
        if (problem == NULL)
            continue;
        struct control_object *object = control_object_ref(before->objects[i].object);
        if (add_object(after, object, before->objects[i].document) < 0) {
            control_object_unref(object);
            return -ENOMEM;
        }
        after->objects[after->object_count - 1].kept = true;
        problem->kept = true;
        if (problem->reason == CONTROL_PROBLEM_INVALID)
            problem->reason = CONTROL_PROBLEM_INVALID_KEPT;
        if (!problem->known && tell_earlier(after, object, problem->text) < 0)
            return -ENOMEM;
    }
    sort(after);
    return 0;
}
