/* Values as cJSON items: this file alone knows cJSON, and uses it for the items and their lists.
 *
 * Numbers: a cJSON_Number here is always a whole number below 10^15, which a double holds for certain; every other
 * number is a cJSON_Raw with its text in valuestring and the nearest double in valuedouble.
 * A list's first item has its last one in `prev` (cJSON's own invariant): appending and freeing need no walk.
 */
#include "common/doc/json.h"

#include "common/doc/number.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define SURE_DIGITS 15                 /* whole numbers of so many digits are cJSON_Number */
#define SURE_LIMIT  1000000000000000LL /* the first with one more */
#define WHOLE_MAX   9007199254740992.0 /* 2^53 */

static void *allocate(size_t size)
{
    return malloc(size);
}

static void release(void *memory)
{
    free(memory);
}

/* cJSON's allocations pass through this object file, so that tests can make them fail. Before main: no thread is
 * there yet, and cJSON keeps its hooks in a global. */
__attribute__((constructor)) static void install_hooks(void)
{
    cJSON_Hooks hooks = {.malloc_fn = allocate, .free_fn = release};
    cJSON_InitHooks(&hooks);
}

static cJSON *item_of(const struct fl_json *value)
{
    union {
        const struct fl_json *value;
        cJSON *item;
    } cast = {.value = value};
    return cast.item;
}

static struct fl_json *value_of(cJSON *item)
{
    return (struct fl_json *)item;
}

static int type_of(const cJSON *item)
{
    return item != NULL ? item->type & 0xff : cJSON_Invalid;
}

struct fl_json *fl_json_free(struct fl_json *root)
{
    /* Without recursion: an item's children join the list of what is left. */
    for (cJSON *item = item_of(root), *next; item != NULL; item = next) {
        if (item->child != NULL) {
            item->child->prev->next = item->next;
            item->next = item->child;
            item->child = NULL;
        }
        next = item->next;
        item->next = NULL;
        cJSON_Delete(item);
    }
    return NULL;
}

void fl_cleanup_json(struct fl_json **root)
{
    fl_json_free(*root);
}

enum fl_json_kind fl_json_kind(const struct fl_json *value)
{
    switch (type_of(item_of(value))) {
    case cJSON_False:
    case cJSON_True:
        return FL_JSON_BOOL;
    case cJSON_Number:
    case cJSON_Raw:
        return FL_JSON_NUMBER;
    case cJSON_String:
        return FL_JSON_STRING;
    case cJSON_Array:
        return FL_JSON_ARRAY;
    case cJSON_Object:
        return FL_JSON_OBJECT;
    default:
        return FL_JSON_NULL;
    }
}

const char *fl_json_kind_name(enum fl_json_kind kind)
{
    static const char *const names[] = {
        [FL_JSON_NULL] = "null",       [FL_JSON_BOOL] = "a boolean", [FL_JSON_NUMBER] = "a number",
        [FL_JSON_STRING] = "a string", [FL_JSON_ARRAY] = "an array", [FL_JSON_OBJECT] = "an object"};
    return (size_t)kind < FL_COUNT(names) ? names[kind] : "an unknown kind of value";
}

/* Looking. */

static bool has_name(const cJSON *item, struct fl_span name)
{
    return item->string != NULL && strncmp(item->string, name.data, name.len) == 0 && item->string[name.len] == '\0';
}

struct fl_json *fl_json_get_span(const struct fl_json *object, struct fl_span name)
{
    if (!fl_json_is(object, FL_JSON_OBJECT) || (name.len > 0 && memchr(name.data, '\0', name.len) != NULL))
        return NULL;
    if (name.len == 0)
        name = FL_SPAN("");
    cJSON *item = item_of(object)->child;
    while (item != NULL && !has_name(item, name))
        item = item->next;
    return value_of(item);
}

struct fl_json *fl_json_get(const struct fl_json *object, const char *name)
{
    return fl_json_get_span(object, fl_span_str(name));
}

struct fl_json *fl_json_first(const struct fl_json *container)
{
    return fl_json_is(container, FL_JSON_ARRAY) || fl_json_is(container, FL_JSON_OBJECT)
               ? value_of(item_of(container)->child)
               : NULL;
}

struct fl_json *fl_json_next(const struct fl_json *value)
{
    return value != NULL ? value_of(item_of(value)->next) : NULL;
}

struct fl_json *fl_json_at(const struct fl_json *array, size_t index)
{
    struct fl_json *value = fl_json_is(array, FL_JSON_ARRAY) ? fl_json_first(array) : NULL;
    while (value != NULL && index-- > 0)
        value = fl_json_next(value);
    return value;
}

size_t fl_json_count(const struct fl_json *container)
{
    size_t count = 0;
    for (const struct fl_json *value = fl_json_first(container); value != NULL; value = fl_json_next(value))
        count++;
    return count;
}

struct fl_span fl_json_name(const struct fl_json *member)
{
    return fl_span_str(member != NULL ? item_of(member)->string : NULL);
}

struct fl_span fl_json_string(const struct fl_json *value)
{
    return fl_span_str(fl_json_is(value, FL_JSON_STRING) ? item_of(value)->valuestring : NULL);
}

double fl_json_number(const struct fl_json *value)
{
    return fl_json_is(value, FL_JSON_NUMBER) ? item_of(value)->valuedouble : 0;
}

bool fl_json_bool(const struct fl_json *value)
{
    return type_of(item_of(value)) == cJSON_True;
}

struct fl_span fl_json_number_text(const struct fl_json *value, char room[FL_JSON_NUMBER_ROOM])
{
    const cJSON *item = item_of(value);
    if (type_of(item) == cJSON_Raw)
        return fl_span_str(item->valuestring);
    if (type_of(item) != cJSON_Number)
        return (struct fl_span){NULL, 0};
    int length = snprintf(room, FL_JSON_NUMBER_ROOM, "%" PRId64, (int64_t)item->valuedouble);
    return fl_span_make(room, (size_t)length);
}

bool fl_json_int(const struct fl_json *value, int64_t min, int64_t max, int64_t *ret_number)
{
    double number = fl_json_number(value);
    if (!fl_json_is(value, FL_JSON_NUMBER) || !(fabs(number) <= WHOLE_MAX) || number != floor(number))
        return false;
    int64_t whole = (int64_t)number;
    /* 2^53 + 1 and 1.00000000000000000001 are near a whole double without being it. */
    char near[FL_JSON_NUMBER_ROOM], room[FL_JSON_NUMBER_ROOM];
    snprintf(near, sizeof(near), "%" PRId64, whole);
    if (whole < min || whole > max || !fl_number_equal(fl_span_str(near), fl_json_number_text(value, room)))
        return false;
    *ret_number = whole;
    return true;
}

/* Making. */

struct fl_json *fl_json_new_null(void)
{
    return value_of(cJSON_CreateNull());
}

struct fl_json *fl_json_new_bool(bool value)
{
    return value_of(cJSON_CreateBool(value));
}

static struct fl_json *new_with_text(int type, struct fl_span text, double number)
{
    char *copy = fl_span_dup(text);
    cJSON *item = copy != NULL ? cJSON_CreateNull() : NULL;
    if (item == NULL) {
        free(copy);
        return NULL;
    }
    item->type = type;
    item->valuestring = copy;
    item->valuedouble = number;
    return value_of(item);
}

struct fl_json *fl_json_new_int(int64_t value)
{
    if (value > -SURE_LIMIT && value < SURE_LIMIT)
        return value_of(cJSON_CreateNumber((double)value));
    char text[FL_NUMBER_PRINT_MAX];
    snprintf(text, sizeof(text), "%" PRId64, value);
    return new_with_text(cJSON_Raw, fl_span_str(text), (double)value);
}

struct fl_json *fl_json_new_decimal(struct fl_span text)
{
    if (text.len == 0 || fl_number_length(text) != text.len)
        return NULL;
    uint64_t whole;
    bool negative = text.data[0] == '-';
    struct fl_span digits = fl_span_from(text, negative);
    if (digits.len > SURE_DIGITS || !fl_span_to_u64(digits, SURE_LIMIT, &whole) || (negative && whole == 0))
        return new_with_text(cJSON_Raw, text, fl_number_value(text));
    return value_of(cJSON_CreateNumber(negative ? -(double)whole : (double)whole));
}

struct fl_json *fl_json_new_number(double value)
{
    if (!isfinite(value))
        return NULL;
    char text[FL_NUMBER_PRINT_MAX];
    fl_number_print(value, text);
    return fl_json_new_decimal(fl_span_str(text));
}

struct fl_json *fl_json_new_string(struct fl_span text)
{
    return new_with_text(cJSON_String, text, 0);
}

struct fl_json *fl_json_new_array(void)
{
    return value_of(cJSON_CreateArray());
}

struct fl_json *fl_json_new_object(void)
{
    return value_of(cJSON_CreateObject());
}

static cJSON *copy_item(const cJSON *item, unsigned depth)
{
    if (depth > FL_JSON_DEPTH_MAX)
        return NULL;
    cJSON *copy = cJSON_Duplicate(item, false);
    for (const cJSON *child = item->child; copy != NULL && child != NULL; child = child->next) {
        cJSON *inner = copy_item(child, depth + (child->child != NULL));
        if (inner == NULL) {
            fl_json_free(value_of(copy));
            return NULL;
        }
        cJSON_AddItemToArray(copy, inner);
    }
    return copy;
}

static void drop_name(cJSON *item)
{
    free(item->string);
    item->string = NULL;
}

struct fl_json *fl_json_copy(const struct fl_json *value)
{
    cJSON *copy = value != NULL ? copy_item(item_of(value), 1) : NULL;
    if (copy != NULL)
        drop_name(copy);
    return value_of(copy);
}

/* Building. */

static int drop(struct fl_json *value, int result)
{
    fl_json_free(value);
    return result;
}

static int check_value(const struct fl_json *container, enum fl_json_kind kind, struct fl_json *value)
{
    if (value == NULL)
        return -ENOMEM;
    return fl_json_is(container, kind) ? 0 : drop(value, -EINVAL);
}

int fl_json_add(struct fl_json *object, struct fl_span name, struct fl_json *value)
{
    int result = check_value(object, FL_JSON_OBJECT, value);
    if (result < 0)
        return result;
    if (name.len > 0 && memchr(name.data, '\0', name.len) != NULL)
        return drop(value, -EINVAL);
    char *copy = fl_span_dup(name);
    if (copy == NULL)
        return drop(value, -ENOMEM);
    drop_name(item_of(value));
    item_of(value)->string = copy;
    cJSON_AddItemToArray(item_of(object), item_of(value));
    return 0;
}

int fl_json_set_span(struct fl_json *object, struct fl_span name, struct fl_json *value)
{
    cJSON *old = value != NULL ? item_of(fl_json_get_span(object, name)) : NULL;
    if (old == NULL)
        return fl_json_add(object, name, value);
    drop_name(item_of(value));
    item_of(value)->string = fl_take(old->string);
    /* cJSON frees the old item with its children, by recursion: it finds none. */
    struct fl_json *children = value_of(fl_take(old->child));
    cJSON_ReplaceItemViaPointer(item_of(object), old, item_of(value));
    fl_json_free(children);
    return 0;
}

int fl_json_set(struct fl_json *object, const char *name, struct fl_json *value)
{
    return fl_json_set_span(object, fl_span_str(name), value);
}

int fl_json_append(struct fl_json *array, struct fl_json *value)
{
    int result = check_value(array, FL_JSON_ARRAY, value);
    if (result < 0)
        return result;
    drop_name(item_of(value));
    cJSON_AddItemToArray(item_of(array), item_of(value));
    return 0;
}

/* cJSON_InsertItemInArray refuses every place but the first in Debian 12 (1.7.15-1+deb12u4), so: by hand. */
static void link_before(cJSON *array, cJSON *next, cJSON *item)
{
    item->next = next;
    item->prev = next->prev;
    if (array->child == next)
        array->child = item;
    else
        next->prev->next = item;
    next->prev = item;
}

int fl_json_insert(struct fl_json *array, size_t index, struct fl_json *value)
{
    int result = check_value(array, FL_JSON_ARRAY, value);
    if (result < 0)
        return result;
    struct fl_json *next = fl_json_at(array, index);
    if (next == NULL)
        return fl_json_count(array) == index ? fl_json_append(array, value) : drop(value, -ENOENT);
    drop_name(item_of(value));
    link_before(item_of(array), item_of(next), item_of(value));
    return 0;
}

static struct fl_json *detach(struct fl_json *container, struct fl_json *value)
{
    if (value == NULL)
        return NULL;
    cJSON *item = cJSON_DetachItemViaPointer(item_of(container), item_of(value));
    drop_name(item);
    return value_of(item);
}

struct fl_json *fl_json_detach(struct fl_json *object, struct fl_span name)
{
    return detach(object, fl_json_get_span(object, name));
}

struct fl_json *fl_json_detach_at(struct fl_json *array, size_t index)
{
    return detach(array, fl_json_at(array, index));
}

static int remove_detached(const struct fl_json *container, enum fl_json_kind kind, struct fl_json *detached)
{
    if (!fl_json_is(container, kind))
        return -EINVAL;
    if (detached == NULL)
        return -ENOENT;
    fl_json_free(detached);
    return 0;
}

int fl_json_remove(struct fl_json *object, struct fl_span name)
{
    return remove_detached(object, FL_JSON_OBJECT, fl_json_detach(object, name));
}

int fl_json_remove_at(struct fl_json *array, size_t index)
{
    return remove_detached(array, FL_JSON_ARRAY, fl_json_detach_at(array, index));
}
