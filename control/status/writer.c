#include "control/status/writer.h"

#include "common/base/map.h"
#include "control/status/block.h"
#include "control/status/report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#define NAME_ROOM  640 /* <kind>.<namespace>.<name>.yaml */
#define FILES_MAX  (1u << 20)
#define UNFINISHED ".status.new"
#define PROBLEMS   "problems.yaml"

struct written { /* a file of ours */
    char *name;
    struct fl_buf text;
    bool wanted; /* in this round */
};

/* Where a round is: one file at each step. */
enum stage { STAGE_OBJECTS, STAGE_PROBLEMS, STAGE_UNNAMED, STAGE_REMOVE, STAGE_OVER };

struct round {
    struct control_model *model; /* counted; NULL: none is under way */
    enum stage stage;
    enum control_kind kind; /* of the objects' stage */
    size_t next;            /* object, problem or (a cursor) file */
    int result;             /* the first failure … */
    struct fl_err err;      /* … and its text */
};

struct control_status_writer {
    int folder;
    struct fl_map files;      /* by name: struct written */
    struct control_model *of; /* counted: what the folder says */
    struct round round;
};

/* -- life ------------------------------------------------------------------------------------------------------------
 */

static void written_free(struct written *written)
{
    if (written == NULL)
        return;
    fl_buf_done(&written->text);
    free(written->name);
    free(written);
}

static struct written *written_of(struct control_status_writer *writer, const char *name)
{
    struct written *written = fl_map_get(&writer->files, fl_span_str(name));
    if (written != NULL)
        return written;
    written = calloc(1, sizeof(*written));
    if (written == NULL)
        return NULL;
    fl_buf_init(&written->text, CONTROL_STATUS_TEXT_MAX);
    written->name = fl_span_dup(fl_span_str(name));
    if (written->name != NULL && fl_map_put(&writer->files, fl_span_str(written->name), written) == 0)
        return written;
    written_free(written);
    return NULL;
}

/* "<Kind>.….yaml", or the file of problems: what an earlier process wrote, and this one replaces or removes. */
static bool is_ours(struct fl_span name)
{
    struct fl_span kind = fl_span_make(name.data, fl_span_find(name, '.'));
    if (fl_span_eq_str(name, PROBLEMS))
        return true;
    for (int i = 0; i < CONTROL_KIND_COUNT; i++)
        if (fl_span_eq_str(kind, control_kind_name((enum control_kind)i)))
            return fl_span_ends_with(name, FL_SPAN(".yaml"));
    return false;
}

static int adopt(struct control_status_writer *writer)
{
    int result = 0, copy = fcntl(writer->folder, F_DUPFD_CLOEXEC, 0);
    DIR *folder = copy >= 0 ? fdopendir(copy) : NULL;
    if (folder == NULL) {
        result = -errno;
        if (copy >= 0)
            close(copy);
        return result;
    }
    for (struct dirent *entry = readdir(folder); entry != NULL && result == 0; entry = readdir(folder))
        if (is_ours(fl_span_str(entry->d_name)) && written_of(writer, entry->d_name) == NULL)
            result = -ENOMEM;
    closedir(folder);
    return result;
}

int control_status_writer_open(const char *path, struct control_status_writer **ret_writer, struct fl_err *err)
{
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return fl_err_errno(err, -errno, "make folder %s", path);
    struct control_status_writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL)
        return fl_err_errno(err, -ENOMEM, "folder %s", path);
    writer->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (writer->folder < 0) {
        int result = fl_err_errno(err, -errno, "open folder %s", path);
        free(writer);
        return result;
    }
    fl_map_init(&writer->files, FILES_MAX);
    int result = adopt(writer);
    if (result < 0) {
        control_status_writer_close(writer);
        return fl_err_errno(err, result, "read folder %s", path);
    }
    *ret_writer = writer;
    return 0;
}

struct control_status_writer *control_status_writer_close(struct control_status_writer *writer)
{
    void *written = NULL;
    if (writer == NULL)
        return NULL;
    for (size_t cursor = 0; fl_map_next(&writer->files, &cursor, NULL, &written);)
        written_free(written);
    fl_map_done(&writer->files);
    control_model_unref(writer->of);
    control_model_unref(writer->round.model);
    close(writer->folder);
    free(writer);
    return NULL;
}

/* -- one file --------------------------------------------------------------------------------------------------------
 */

static int write_all(int fd, struct fl_span text)
{
    while (text.len > 0) {
        ssize_t len = write(fd, text.data, text.len);
        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0)
            return -errno;
        text = fl_span_from(text, (size_t)len);
    }
    return 0;
}

static int replace(const struct control_status_writer *writer, const char *name, struct fl_span text)
{
    FL_CLEANUP(fl_cleanup_close)
    int fd = openat(writer->folder, UNFINISHED, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int result = write_all(fd, text);
    if (result == 0 && renameat(writer->folder, UNFINISHED, writer->folder, name) < 0)
        result = -errno;
    if (result < 0)
        unlinkat(writer->folder, UNFINISHED, 0);
    return result;
}

/* Takes the text over; writes where it is another. */
static int bring(struct control_status_writer *writer, const char *name, struct fl_buf *text)
{
    struct written *written = written_of(writer, name);
    if (written == NULL)
        return -ENOMEM;
    written->wanted = true;
    if (fl_span_eq(fl_buf_span(&written->text), fl_buf_span(text)))
        return 0;
    int result = replace(writer, name, fl_buf_span(text));
    if (result < 0)
        return result;
    fl_buf_done(&written->text);
    written->text = *text;
    fl_buf_init(text, CONTROL_STATUS_TEXT_MAX);
    return 0;
}

/* -- all of them -----------------------------------------------------------------------------------------------------
 */

static void note(struct round *round, const char *name, int result)
{
    if (result < 0 && round->result == 0)
        round->result = fl_err_errno(&round->err, result, "status file %s", name);
}

static void file_name(char room[NAME_ROOM], enum control_kind kind, struct fl_span name_space, struct fl_span name)
{
    struct fl_span space = name_space.len > 0 ? name_space : FL_SPAN("-");
    snprintf(room, NAME_ROOM, "%s.%.*s.%.*s.yaml", control_kind_name(kind), FL_SPAN_ARG(space), FL_SPAN_ARG(name));
}

/* Appends one report as a YAML document. */
static int append_report(const struct control_model *model, const struct control_object *object,
                         const struct control_problem *problem, struct fl_buf *text)
{
    struct fl_buf json;
    fl_buf_init(&json, CONTROL_STATUS_TEXT_MAX);
    int result = object != NULL ? control_status_object(model, object, &json) : control_status_problem(problem, &json);
    if (result == 0 && text->len > 0)
        result = fl_buf_append_str(text, "---\n");
    if (result == 0)
        result = control_status_block(fl_buf_span(&json), text);
    fl_buf_done(&json);
    return result;
}

/* An object's file, one document: its status with the problems of its name; without an object the first of these. */
static void write_object(struct control_status_writer *writer, const struct control_key *key)
{
    const struct control_model *model = writer->round.model;
    const struct control_problems *problems = control_model_problems(model);
    const struct control_object *object = control_model_get(model, *key);
    char name[NAME_ROOM];
    struct fl_buf text;
    int result = 0;
    file_name(name, key->kind, key->name_space, key->name);
    fl_buf_init(&text, CONTROL_STATUS_TEXT_MAX);
    if (object != NULL && control_status_has(key->kind))
        result = append_report(model, object, NULL, &text);
    for (size_t i = 0; problems != NULL && i < problems->count && result == 0 && text.len == 0; i++) {
        const struct control_problem *problem = &problems->items[i];
        struct control_key other = {problem->kind, problem->name_space, problem->name};
        if (problem->known && control_key_compare(&other, key) == 0)
            result = append_report(model, NULL, problem, &text);
    }
    if (result == 0)
        result = bring(writer, name, &text);
    note(&writer->round, name, result);
    fl_buf_done(&text);
}

/* Each stage: true: one file was looked at; false: none is left. */

static bool step_objects(struct control_status_writer *writer)
{
    struct round *round = &writer->round;
    for (; round->kind < CONTROL_KIND_COUNT; round->kind++, round->next = 0) {
        struct control_objects all = control_model_all(round->model, round->kind);
        if (!control_status_has(round->kind) || round->next >= all.count)
            continue;
        struct control_key key = control_object_key(all.items[round->next++]);
        write_object(writer, &key);
        return true;
    }
    return false;
}

/* Of documents that have a name but no object with a status. */
static bool step_problems(struct control_status_writer *writer)
{
    struct round *round = &writer->round;
    const struct control_problems *problems = control_model_problems(round->model);
    if (problems == NULL || round->next >= problems->count)
        return false;
    const struct control_problem *problem = &problems->items[round->next++];
    struct control_key key = {problem->kind, problem->name_space, problem->name};
    if (problem->known && (control_model_get(round->model, key) == NULL || !control_status_has(key.kind)))
        write_object(writer, &key);
    return true;
}

static void write_unnamed(struct control_status_writer *writer)
{
    const struct control_problems *problems = control_model_problems(writer->round.model);
    struct fl_buf text;
    int result = 0;
    fl_buf_init(&text, CONTROL_STATUS_TEXT_MAX);
    for (size_t i = 0; problems != NULL && i < problems->count && result == 0; i++)
        if (!problems->items[i].known)
            result = append_report(writer->round.model, NULL, &problems->items[i], &text);
    if (result == 0 && text.len > 0)
        result = bring(writer, PROBLEMS, &text);
    note(&writer->round, PROBLEMS, result);
    fl_buf_done(&text);
}

/* Nothing is removed where something could not be written. */
static bool step_remove(struct control_status_writer *writer)
{
    struct round *round = &writer->round;
    struct fl_span name;
    void *value = NULL;
    if (!fl_map_next(&writer->files, &round->next, &name, &value))
        return false;
    struct written *written = value;
    if (written->wanted) {
        written->wanted = false;
        return true;
    }
    if (round->result < 0)
        return true;
    if (unlinkat(writer->folder, written->name, 0) < 0 && errno != ENOENT) {
        note(round, written->name, -errno);
        return true;
    }
    fl_map_remove(&writer->files, name);
    written_free(written);
    return true;
}

static void step(struct control_status_writer *writer)
{
    struct round *round = &writer->round;
    bool more = false;
    if (round->stage == STAGE_OBJECTS)
        more = step_objects(writer);
    else if (round->stage == STAGE_PROBLEMS)
        more = step_problems(writer);
    else if (round->stage == STAGE_UNNAMED)
        write_unnamed(writer);
    else if (round->stage == STAGE_REMOVE)
        more = step_remove(writer);
    if (more)
        return;
    round->stage++;
    round->next = 0;
}

void control_status_writer_begin(struct control_status_writer *writer, struct control_model *model)
{
    if (writer->round.model == NULL && writer->of != model)
        writer->round = (struct round){.model = control_model_ref(model)};
}

bool control_status_writer_is_busy(const struct control_status_writer *writer)
{
    return writer->round.model != NULL;
}

bool control_status_writer_has(const struct control_status_writer *writer, const struct control_model *model)
{
    return writer->of == model;
}

/* What could not be written is tried again when the model changes. */
static int end_round(struct control_status_writer *writer, struct fl_err *err)
{
    int result = writer->round.result;
    if (result < 0 && err != NULL)
        *err = writer->round.err;
    control_model_unref(writer->of);
    writer->of = fl_take(writer->round.model);
    return result;
}

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int control_status_writer_step(struct control_status_writer *writer, uint64_t budget_ns, struct fl_err *err)
{
    uint64_t end = clock_ns() + budget_ns;
    if (writer->round.model == NULL)
        return 0;
    do
        step(writer);
    while (writer->round.stage != STAGE_OVER && clock_ns() < end);
    return writer->round.stage == STAGE_OVER ? end_round(writer, err) : 0;
}
