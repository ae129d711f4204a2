/* tests/golden/xds: a world in YAML, and the resources that it becomes, one pair of files a feature.
 *
 * <case>.yaml begins with comments that say what is looked at:
 *
 *     # view sidecar demo/web-1 10.1.0.1      (or: gateway demo/edge; client)
 *     # show LDS virtualInbound               (one resource; "-" is printed where there is none)
 *     # list CDS                              (the names of the wildcard group; "own" instead of CDS: of outbound|*)
 *
 * <case>.txt is what comes out. GOLDEN_WRITE=1 in the environment writes it: look at the difference before you commit.
 */
#include "common/xds/convert.h"
#include "control/xds/generate.h"
#include "tests/unit/control/xds_world.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define FOLDER "tests/golden/xds"

struct golden {
    struct control_store *store;
    struct control_node node;
    struct control_view view;
    struct fl_arena view_arena, arena;
    struct fl_buf out;
};

/* -- JSON that a person can compare -- */

static void newline(struct fl_buf *out, size_t depth)
{
    assert_int_equal(fl_buf_printf(out, "\n%*s", (int)(2 * depth), ""), 0);
}

static void indent(struct fl_span json, struct fl_buf *out)
{
    size_t depth = 1;
    bool quoted = false;
    newline(out, depth);
    for (size_t i = 0; i < json.len; i++) {
        char c = json.data[i];
        bool opens = !quoted && (c == '{' || c == '['), closes = !quoted && (c == '}' || c == ']');
        if (c == '"' && (i == 0 || json.data[i - 1] != '\\'))
            quoted = !quoted;
        if (closes && json.data[i - 1] != '{' && json.data[i - 1] != '[')
            newline(out, --depth);
        else if (closes)
            depth--;
        assert_int_equal(fl_buf_append_byte(out, c), 0);
        if (opens)
            depth++;
        if ((opens && json.data[i + 1] != '}' && json.data[i + 1] != ']') || (!quoted && c == ','))
            newline(out, depth);
        else if (!quoted && c == ':')
            assert_int_equal(fl_buf_append_byte(out, ' '), 0);
    }
    assert_int_equal(fl_buf_append_byte(out, '\n'), 0);
}

static void print_resource(struct golden *golden, const struct control_resource *resource)
{
    struct ProtobufCMessage *message;
    struct fl_buf json;
    struct fl_err err;
    fl_buf_init(&json, 16 << 20);
    if (fl_xds_unpack(fl_xds_type(fl_span_str(fl_resource_type_url(resource->type))), resource->bytes, &golden->arena,
                      NULL, &message, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(fl_xds_print(message, &json), 0);
    if (resource->ttl_seconds > 0)
        assert_int_equal(fl_buf_printf(&golden->out, " (ttl %us)", resource->ttl_seconds), 0);
    indent(fl_buf_span(&json), &golden->out);
    fl_buf_done(&json);
}

/* -- the directives -- */

static enum fl_resource_type type_of(struct fl_span word)
{
    enum fl_resource_type type = 0;
    while (type < FL_RESOURCE_TYPES && !fl_span_eq_str(word, fl_resource_type_word(type)))
        type++;
    return type;
}

static void show(struct golden *golden, struct fl_span rest)
{
    struct fl_span word;
    struct control_resource *resource;
    assert_true(fl_span_split(&rest, ' ', &word));
    assert_int_equal(control_generate(&golden->view, type_of(word), rest, &golden->arena, &resource), 0);
    assert_int_equal(fl_buf_printf(&golden->out, "%.*s %.*s", FL_SPAN_ARG(word), FL_SPAN_ARG(rest)), 0);
    if (resource != NULL)
        print_resource(golden, resource);
    else
        assert_int_equal(fl_buf_append_str(&golden->out, " -\n"), 0);
    control_resource_unref(resource);
    fl_arena_reset(&golden->arena);
}

static int visit(void *visitor, struct fl_span name)
{
    return fl_buf_printf(visitor, "  %.*s\n", FL_SPAN_ARG(name));
}

static void list(struct golden *golden, struct fl_span word)
{
    bool own = fl_span_eq_str(word, "own");
    assert_int_equal(fl_buf_printf(&golden->out, "list %.*s\n", FL_SPAN_ARG(word)), 0);
    assert_int_equal(control_generate_each(&golden->view, own ? FL_RESOURCE_LISTENER : type_of(word),
                                           own ? CONTROL_GROUP_OWN_NAMESPACE : CONTROL_GROUP_EVERYTHING, &golden->arena,
                                           visit, &golden->out),
                     0);
    fl_arena_reset(&golden->arena);
}

static void look(struct golden *golden, struct fl_span rest)
{
    struct fl_span role, name_space, name;
    struct fl_err err = {0};
    assert_int_equal(fl_buf_printf(&golden->out, "view %.*s\n", FL_SPAN_ARG(rest)), 0);
    golden->node = (struct control_node){.on_demand = true};
    fl_span_split(&rest, ' ', &role);
    if (rest.data != NULL) {
        fl_span_split(&rest, '/', &name_space);
        fl_span_split(&rest, ' ', &name);
        snprintf(golden->node.name_space, sizeof(golden->node.name_space), "%.*s", FL_SPAN_ARG(name_space));
        snprintf(golden->node.name, sizeof(golden->node.name), "%.*s", FL_SPAN_ARG(name));
        if (rest.data != NULL)
            snprintf(golden->node.ip, sizeof(golden->node.ip), "%.*s", FL_SPAN_ARG(rest));
    }
    golden->node.role = fl_span_eq_str(role, "sidecar")   ? CONTROL_ROLE_SIDECAR
                        : fl_span_eq_str(role, "gateway") ? CONTROL_ROLE_GATEWAY
                                                          : CONTROL_ROLE_CLIENT;
    fl_arena_reset(&golden->view_arena);
    if (control_view_make(control_store_model(golden->store), &golden->node, (struct fl_span){NULL, 0},
                          &golden->view_arena, &golden->view, &err) < 0)
        fail_msg("%s", err.text);
}

static void direct(struct golden *golden, struct fl_span line)
{
    struct fl_span word;
    if (!fl_span_starts_with(line, FL_SPAN("# ")))
        return;
    line = fl_span_from(line, 2);
    fl_span_split(&line, ' ', &word);
    if (fl_span_eq_str(word, "view"))
        look(golden, line);
    else if (fl_span_eq_str(word, "show"))
        show(golden, line);
    else if (fl_span_eq_str(word, "list"))
        list(golden, line);
}

static void compare(const char *path, struct fl_buf *out)
{
    struct fl_buf expected;
    fl_buf_init(&expected, 16 << 20);
    if (getenv("GOLDEN_WRITE") != NULL) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(out->data, 1, out->len, file), out->len);
        assert_int_equal(fclose(file), 0);
    }
    assert_int_equal(fl_buf_read_file(&expected, path), 0);
    if (!fl_span_eq(fl_buf_span(&expected), fl_buf_span(out))) {
        size_t i = 0, line = 1;
        for (; i < expected.len && i < out->len && expected.data[i] == out->data[i]; i++)
            line += expected.data[i] == '\n';
        fail_msg("%s:%zu: something else came out:\n%.200s", path, line, fl_buf_str(out) + i);
    }
    fl_buf_done(&expected);
}

static void run(const char *name)
{
    struct golden golden = {0};
    struct fl_buf text;
    char path[512];
    fl_buf_init(&text, 1 << 20);
    fl_buf_init(&golden.out, 16 << 20);
    fl_arena_init(&golden.arena, CONTROL_GENERATE_ARENA_MAX);
    fl_arena_init(&golden.view_arena, 1 << 20);
    snprintf(path, sizeof(path), FOLDER "/%s.yaml", name);
    assert_int_equal(fl_buf_read_file(&text, path), 0);
    assert_int_equal(control_store_new(&golden.store), 0);
    control_diff_free(world_put(golden.store, fl_buf_span(&text)));
    struct fl_span rest = fl_buf_span(&text), line;
    while (fl_span_split(&rest, '\n', &line))
        direct(&golden, line);
    snprintf(path, sizeof(path), FOLDER "/%s.txt", name);
    compare(path, &golden.out);
    control_store_free(golden.store);
    fl_arena_done(&golden.arena);
    fl_arena_done(&golden.view_arena);
    fl_buf_done(&golden.out);
    fl_buf_done(&text);
}

static void every_world_becomes_what_it_should(void **state)
{
    (void)state;
    DIR *folder = opendir(FOLDER);
    size_t count = 0;
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char name[256];
        size_t len = strlen(entry->d_name);
        if (len < 6 || len >= sizeof(name) || strcmp(entry->d_name + len - 5, ".yaml") != 0)
            continue;
        snprintf(name, sizeof(name), "%.*s", (int)len - 5, entry->d_name);
        run(name);
        count++;
    }
    closedir(folder);
    assert_true(count > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_world_becomes_what_it_should)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
