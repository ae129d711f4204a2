/* From libyaml's events to a tree, without recursion; the state is that of json_parse.c. libyaml checks the syntax
 * (YAML 1.1's, which differs from 1.2 in nothing that configuration files have) and knows the positions; what plain
 * scalars mean is scalar.c. As in YAML 1.1, U+0085, U+2028 and U+2029 are line breaks. */
#include "common/doc/yaml.h"

#include "common/doc/index.h"
#include "common/doc/positions.h"
#include "common/doc/scalar.h"

#include <errno.h>
#include <yaml.h>

#define FIRST_ROOM 4
#define TAG_PREFIX "tag:yaml.org,2002:"

struct fl_yaml {
    struct fl_json **documents; /* owned, as their trees are */
    size_t count, room;
    struct fl_positions positions;
};

struct builder {
    struct fl_yaml *yaml;
    struct fl_span text;
    unsigned depth_max;
    size_t values_left;
    struct fl_err *err;

    struct fl_json *root;                    /* of the document being read; owned */
    struct fl_json *open[FL_JSON_DEPTH_MAX]; /* borrowed from root */
    unsigned depth;
    char *name; /* owned; the key whose value comes next, NULL where a key (or an element) comes next */
};

static struct fl_position position_of(yaml_mark_t mark)
{
    return (struct fl_position){(unsigned)mark.line + 1, (unsigned)mark.column + 1};
}

/* "file:line:column: what"; returns `code`. */
static int fail(struct builder *builder, int code, struct fl_position position, const char *what)
{
    return fl_err_set(builder->err, code, "%s:%u:%u: %s", builder->yaml->positions.file, position.line, position.column,
                      what);
}

static int fail_memory(struct builder *builder)
{
    return fl_err_set(builder->err, -ENOMEM, "%s: out of memory", builder->yaml->positions.file);
}

/* Hands `value` (NULL: out of memory) to where it belongs. */
static int place(struct builder *builder, struct fl_json *value, struct fl_position position)
{
    struct fl_json *container = builder->depth > 0 ? builder->open[builder->depth - 1] : NULL;
    int result = 0;
    if (value == NULL)
        return fail_memory(builder);
    if (container == NULL)
        builder->root = value;
    else if (builder->name != NULL)
        result = fl_json_add(container, fl_span_str(builder->name), value);
    else
        result = fl_json_append(container, value);
    free(fl_take(builder->name));
    if (result == 0)
        result = fl_positions_add(&builder->yaml->positions, value, position);
    return result < 0 ? fail_memory(builder) : 0;
}

static int count_value(struct builder *builder, struct fl_position position)
{
    return builder->values_left-- > 0 ? 0 : fail(builder, -EMSGSIZE, position, "too many values");
}

static bool expects_key(const struct builder *builder)
{
    return builder->depth > 0 && builder->name == NULL && fl_json_is(builder->open[builder->depth - 1], FL_JSON_OBJECT);
}

static int open_container(struct builder *builder, struct fl_json *container, struct fl_position position)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *owned = container;
    if (expects_key(builder))
        return fail(builder, -EINVAL, position, "expected a string as a key");
    if (builder->depth == builder->depth_max)
        return fail(builder, -EMSGSIZE, position, "sequences and mappings are nested too deeply");
    int result = place(builder, fl_take(owned), position);
    if (result == 0)
        builder->open[builder->depth++] = container;
    return result;
}

static struct fl_position find_position(const struct builder *builder, const struct fl_json *value)
{
    const struct fl_positions *positions = &builder->yaml->positions; /* not sorted yet */
    for (size_t i = 0; i < positions->count; i++) {
        if (positions->entries[i].value == value)
            return positions->entries[i].position;
    }
    return (struct fl_position){0, 0};
}

static int close_mapping(struct builder *builder)
{
    struct fl_index index;
    if (fl_index_init(&index, builder->open[builder->depth - 1], NULL) < 0)
        return fail_memory(builder);
    const struct fl_index_entry *twice = fl_index_duplicate(&index);
    int result = 0;
    if (twice != NULL) {
        struct fl_position position = find_position(builder, twice->value);
        result = fl_err_set(builder->err, -EINVAL, "%s:%u:%u: the key \"%.*s\" stands twice in its mapping",
                            builder->yaml->positions.file, position.line, position.column,
                            (int)(twice->name.len < 64 ? twice->name.len : 64), twice->name.data);
    }
    fl_index_done(&index);
    builder->depth--;
    return result;
}

static const char *text_of(const yaml_char_t *text)
{
    return (const char *)text;
}

static bool is_tag(const char *tag, const char *name)
{
    return strncmp(tag, TAG_PREFIX, sizeof(TAG_PREFIX) - 1) == 0 && strcmp(tag + sizeof(TAG_PREFIX) - 1, name) == 0;
}

/* What a tag asks a scalar to be: false for a tag that we do not know. */
static bool tag_fits(const char *tag, enum fl_json_kind kind)
{
    return (is_tag(tag, "null") && kind == FL_JSON_NULL) || (is_tag(tag, "bool") && kind == FL_JSON_BOOL) ||
           ((is_tag(tag, "int") || is_tag(tag, "float")) && kind == FL_JSON_NUMBER);
}

static int check_node(struct builder *builder, const yaml_char_t *anchor, const yaml_char_t *tag, const char *fits,
                      struct fl_position position)
{
    if (anchor != NULL)
        return fail(builder, -EINVAL, position, "anchors and aliases are refused; write the value out");
    if (fits != NULL && tag != NULL && !is_tag(text_of(tag), fits) && strcmp(text_of(tag), "!") != 0)
        return fail(builder, -EINVAL, position, "unknown tag");
    return 0;
}

static int read_scalar_value(struct builder *builder, const yaml_event_t *event, struct fl_position position,
                             struct fl_json **ret_value)
{
    const char *tag = text_of(event->data.scalar.tag);
    struct fl_span text = fl_span_make(event->data.scalar.value, event->data.scalar.length);
    bool string =
        tag != NULL ? is_tag(tag, "str") || strcmp(tag, "!") == 0 : event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)
        return fail(builder, -EINVAL, position, "U+0000 is refused");
    int result = string ? 0 : fl_scalar_read(text, ret_value);
    if (string)
        *ret_value = fl_json_new_string(text);
    if (result == -ENOMEM || (result == 0 && *ret_value == NULL))
        return fail_memory(builder);
    if (result < 0)
        return fail(builder, -EINVAL, position, "not a number that JSON can hold");
    if (string || tag == NULL || tag_fits(tag, fl_json_kind(*ret_value)))
        return 0;
    *ret_value = fl_json_free(*ret_value);
    return fail(builder, -EINVAL, position, "unknown tag, or one that does not fit the value");
}

static int read_key(struct builder *builder, const struct fl_json *key, bool plain, struct fl_position position)
{
    if (!fl_json_is(key, FL_JSON_STRING))
        return fl_err_set(builder->err, -EINVAL, "%s:%u:%u: expected a string as a key, got %s; put it in quotes",
                          builder->yaml->positions.file, position.line, position.column,
                          fl_json_kind_name(fl_json_kind(key)));
    if (plain && fl_span_eq_str(fl_json_string(key), "<<"))
        return fail(builder, -EINVAL, position, "merge keys are refused; write the members out");
    builder->name = fl_span_dup(fl_json_string(key));
    return builder->name != NULL ? 0 : fail_memory(builder);
}

static bool is_empty_document(const struct builder *builder, const yaml_event_t *event)
{
    return builder->depth == 0 && event->data.scalar.length == 0 && event->data.scalar.tag == NULL &&
           event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static int read_scalar(struct builder *builder, const yaml_event_t *event, struct fl_position position)
{
    FL_CLEANUP(fl_cleanup_json) struct fl_json *value = NULL;
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    int result = check_node(builder, event->data.scalar.anchor, NULL, NULL, position);
    if (result < 0 || is_empty_document(builder, event))
        return result;
    result = read_scalar_value(builder, event, position, &value);
    if (result < 0)
        return result;
    if (expects_key(builder))
        return read_key(builder, value, plain, position);
    return place(builder, fl_take(value), position);
}

static int keep_document(struct builder *builder)
{
    struct fl_yaml *yaml = builder->yaml;
    if (builder->root == NULL)
        return 0;
    if (yaml->count == yaml->room) {
        size_t room = yaml->room > 0 ? yaml->room * 2 : FIRST_ROOM;
        struct fl_json **documents = realloc(yaml->documents, room * sizeof(struct fl_json *));
        if (documents == NULL)
            return fail_memory(builder);
        yaml->documents = documents;
        yaml->room = room;
    }
    yaml->documents[yaml->count++] = fl_take(builder->root);
    return 0;
}

static int handle(struct builder *builder, const yaml_event_t *event)
{
    struct fl_position position = position_of(event->start_mark);
    int result = 0;
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return fail(builder, -EINVAL, position, "anchors and aliases are refused; write the value out");
    case YAML_SCALAR_EVENT:
        result = count_value(builder, position);
        return result < 0 ? result : read_scalar(builder, event, position);
    case YAML_SEQUENCE_START_EVENT:
        result =
            check_node(builder, event->data.sequence_start.anchor, event->data.sequence_start.tag, "seq", position);
        if (result == 0)
            result = count_value(builder, position);
        return result < 0 ? result : open_container(builder, fl_json_new_array(), position);
    case YAML_MAPPING_START_EVENT:
        result = check_node(builder, event->data.mapping_start.anchor, event->data.mapping_start.tag, "map", position);
        if (result == 0)
            result = count_value(builder, position);
        return result < 0 ? result : open_container(builder, fl_json_new_object(), position);
    case YAML_SEQUENCE_END_EVENT:
        builder->depth--;
        return 0;
    case YAML_MAPPING_END_EVENT:
        return close_mapping(builder);
    case YAML_DOCUMENT_END_EVENT:
        return keep_document(builder);
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_START_EVENT:
    default:
        return 0;
    }
}

/* Line and column of a byte: libyaml gives no more than that for bytes that are not UTF-8. */
static struct fl_position position_of_byte(struct fl_span text, size_t offset)
{
    struct fl_position position = {1, 1};
    for (size_t i = 0; i < offset && i < text.len; i++) {
        bool newline = text.data[i] == '\n';
        position.line += newline;
        position.column = newline ? 1 : position.column + (((unsigned char)text.data[i] & 0xc0) != 0x80);
    }
    return position;
}

static int fail_syntax(struct builder *builder, const yaml_parser_t *parser)
{
    const char *what = parser->problem != NULL ? parser->problem : "not YAML";
    if (parser->error == YAML_MEMORY_ERROR)
        return fail_memory(builder);
    if (parser->error == YAML_READER_ERROR)
        return fail(builder, -EINVAL, position_of_byte(builder->text, parser->problem_offset), what);
    return fail(builder, -EINVAL, position_of(parser->problem_mark), what);
}

static int read_stream(struct builder *builder, yaml_parser_t *parser)
{
    bool more = true;
    int result = 0;
    while (result == 0 && more) {
        yaml_event_t event;
        if (yaml_parser_parse(parser, &event) == 0)
            return fail_syntax(builder, parser);
        more = event.type != YAML_STREAM_END_EVENT;
        result = handle(builder, &event);
        yaml_event_delete(&event);
    }
    return result;
}

static int build(struct builder *builder)
{
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0)
        return fail_memory(builder);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    /* libyaml asserts that there is an address, also of nothing. */
    const char *text = builder->text.data != NULL ? builder->text.data : "";
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, builder->text.len);
    int result = read_stream(builder, &parser);
    yaml_parser_delete(&parser);
    free(fl_take(builder->name));
    builder->root = fl_json_free(builder->root);
    return result;
}

static struct fl_yaml *new_yaml(const char *file)
{
    struct fl_yaml *yaml = calloc(1, sizeof(*yaml));
    if (yaml != NULL)
        yaml->positions.file = fl_span_dup(fl_span_str(file));
    return yaml != NULL && yaml->positions.file == NULL ? fl_yaml_free(yaml) : yaml;
}

static void drop_documents(struct fl_yaml *yaml)
{
    for (size_t i = 0; i < yaml->count; i++)
        fl_json_free(yaml->documents[i]);
    yaml->count = 0;
    yaml->positions.count = 0;
}

static bool looks_like_json(struct fl_span text)
{
    size_t at = 0;
    while (at < text.len && memchr(" \t\n\r", text.data[at], 4) != NULL)
        at++;
    return at < text.len && memchr("{[\"", text.data[at], 3) != NULL;
}

/* What is JSON means what JSON says, also where libyaml refuses it (escaped surrogate pairs, keys past 1,024 bytes) or
 * reads it otherwise (U+0085 as a line break): it is then a document without positions. `result` is libyaml's answer,
 * which stands where the text is no JSON. */
static int prefer_json(struct builder *builder, const struct fl_json_limits *limits, int result)
{
    struct fl_yaml *yaml = builder->yaml;
    if (!looks_like_json(builder->text))
        return result;
    int json = fl_json_parse(builder->text, limits, &builder->root, NULL);
    if (json == -ENOMEM)
        return fail_memory(builder);
    if (json == 0 && (result < 0 || yaml->count != 1 || !fl_json_equal(yaml->documents[0], builder->root))) {
        drop_documents(yaml);
        result = keep_document(builder);
    }
    builder->root = fl_json_free(builder->root);
    return result;
}

int fl_yaml_parse(struct fl_span text, const char *file, const struct fl_json_limits *limits, struct fl_yaml **ret_yaml,
                  struct fl_err *err)
{
    struct fl_json_limits of = limits != NULL ? *limits : (struct fl_json_limits){0};
    size_t bytes_max = of.bytes_max > 0 ? of.bytes_max : FL_JSON_BYTES_DEFAULT;
    if (text.len > bytes_max)
        return fl_err_set(err, -EMSGSIZE, "%s: the text has %zu bytes, more than %zu", file, text.len, bytes_max);
    FL_CLEANUP(fl_cleanup_yaml) struct fl_yaml *yaml = new_yaml(file);
    if (yaml == NULL)
        return fl_err_set(err, -ENOMEM, "%s: out of memory", file);
    struct builder builder = {.yaml = yaml, .text = text, .err = err};
    builder.depth_max = of.depth_max == 0 ? FL_JSON_DEPTH_DEFAULT : of.depth_max;
    if (builder.depth_max > FL_JSON_DEPTH_MAX)
        builder.depth_max = FL_JSON_DEPTH_MAX;
    builder.values_left = of.values_max > 0 ? of.values_max : FL_JSON_VALUES_DEFAULT;
    int result = build(&builder);
    if (result == 0 || result == -EINVAL)
        result = prefer_json(&builder, limits, result);
    if (result < 0)
        return result;
    fl_positions_sort(&yaml->positions);
    *ret_yaml = fl_take(yaml);
    return 0;
}

int fl_yaml_load(const char *path, const struct fl_json_limits *limits, struct fl_yaml **ret_yaml, struct fl_err *err)
{
    size_t bytes_max = limits != NULL && limits->bytes_max > 0 ? limits->bytes_max : FL_JSON_BYTES_DEFAULT;
    struct fl_buf text;
    fl_buf_init(&text, bytes_max);
    int result = fl_buf_read_file(&text, path);
    if (result == -EMSGSIZE)
        fl_err_set(err, result, "%s: the file has more than %zu bytes", path, bytes_max);
    else if (result < 0)
        fl_err_errno(err, result, "%s", path);
    else
        result = fl_yaml_parse(fl_buf_span(&text), path, limits, ret_yaml, err);
    fl_buf_done(&text);
    return result;
}

struct fl_yaml *fl_yaml_free(struct fl_yaml *yaml)
{
    if (yaml == NULL)
        return NULL;
    drop_documents(yaml);
    free(yaml->documents);
    fl_positions_done(&yaml->positions);
    free(yaml);
    return NULL;
}

void fl_cleanup_yaml(struct fl_yaml **yaml)
{
    fl_yaml_free(*yaml);
}

size_t fl_yaml_count(const struct fl_yaml *yaml)
{
    return yaml->count;
}

struct fl_json *fl_yaml_document(const struct fl_yaml *yaml, size_t index)
{
    return index < yaml->count ? yaml->documents[index] : NULL;
}

const struct fl_positions *fl_yaml_positions(const struct fl_yaml *yaml)
{
    return &yaml->positions;
}
