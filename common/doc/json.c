/* Values as cJSON items: this file alone knows cJSON, and uses it for the items and their lists.
 *
 * Numbers: a cJSON_Number here is always a whole number below 10^15, which a double holds for certain; every other
 * number is a cJSON_Raw with its text in valuestring and the nearest double in valuedouble.
 * A list's first item has its last one in `prev` (cJSON's own invariant): appending and freeing need no walk.
 * A shared item (fl_json_share) is a cJSON_IsReference with a cJSON_StringIsConst name: cJSON frees nothing of it.
 */
#include "common/doc/json.h"

#include "common/doc/number.h"
#include "common/doc/region.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define SURE_DIGITS 15                 /* whole numbers of so many digits are cJSON_Number */
#define SURE_LIMIT  1000000000000000LL /* the first with one more */
#define WHOLE_MAX   9007199254740992.0 /* 2^53 */

/* cJSON's allocations are ours (region.h), and tests can make them fail. Before main: no thread is
 * there yet, and cJSON keeps its hooks in a global. */
__attribute__((constructor)) static void install_hooks(void)
{
    cJSON_Hooks hooks = {.malloc_fn = fl_region_allocate, .free_fn = fl_region_release};
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

static bool is_shared(const cJSON *item)
{
    return (item->type & cJSON_IsReference) != 0;
}

struct fl_json *fl_json_free(struct fl_json *root)
{
    if (fl_region_owns(root))
        return NULL;
    /* Without recursion: an item's children join the list of what is left. */
    for (cJSON *item = item_of(root), *next; item != NULL; item = next) {
        if (item->child != NULL && !is_shared(item)) {
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
    /* By the bit that cJSON's types are: False, True, NULL, Number, String, Array, Object, Raw; none of them. */
    static const unsigned char kinds[] = {FL_JSON_BOOL,  FL_JSON_BOOL,   FL_JSON_NULL,   FL_JSON_NUMBER, FL_JSON_STRING,
                                          FL_JSON_ARRAY, FL_JSON_OBJECT, FL_JSON_NUMBER, FL_JSON_NULL};
    _Static_assert(cJSON_False == 1 && cJSON_Number == 8 && cJSON_Raw == 128, "the bits of cJSON's types");
    return (enum fl_json_kind)kinds[__builtin_ctz((unsigned)type_of(item_of(value)) | 0x100)];
}

const char *fl_json_kind_name(enum fl_json_kind kind)
{
    static const char *const names[] = {
        [FL_JSON_NULL] = "null",       [FL_JSON_BOOL] = "a boolean", [FL_JSON_NUMBER] = "a number",
        [FL_JSON_STRING] = "a string", [FL_JSON_ARRAY] = "an array", [FL_JSON_OBJECT] = "an object"};
    return (size_t)kind < FL_COUNT(names) ? names[kind] : "an unknown kind of value";
}

/* Looking. */

/* A name that holds a NUL is nobody's. */
static bool has_name(const cJSON *item, struct fl_span name)
{
    size_t at = 0;
    if (item->string == NULL)
        return false;
    while (at < name.len && item->string[at] == name.data[at] && name.data[at] != '\0')
        at++;
    return at == name.len && item->string[at] == '\0';
}

struct fl_json *fl_json_get_span(const struct fl_json *object, struct fl_span name)
{
    if (!fl_json_is(object, FL_JSON_OBJECT))
        return NULL;
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
    return value_of(container != NULL ? item_of(container)->child : NULL); /* others have none */
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

/* Its text, at the end of `room`. */
static struct fl_span print_whole(int64_t number, char room[FL_JSON_NUMBER_ROOM])
{
    size_t at = FL_JSON_NUMBER_ROOM;
    uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;
    do {
        room[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0)
        room[--at] = '-';
    return fl_span_make(room + at, FL_JSON_NUMBER_ROOM - at);
}

struct fl_span fl_json_number_text(const struct fl_json *value, char room[FL_JSON_NUMBER_ROOM])
{
    const cJSON *item = item_of(value);
    if (type_of(item) == cJSON_Raw)
        return fl_span_str(item->valuestring);
    if (type_of(item) != cJSON_Number)
        return (struct fl_span){NULL, 0};
    return print_whole((int64_t)item->valuedouble, room);
}

bool fl_json_int(const struct fl_json *value, int64_t min, int64_t max, int64_t *ret_number)
{
    double number = fl_json_number(value);
    if (!fl_json_is(value, FL_JSON_NUMBER) || !(fabs(number) <= WHOLE_MAX) || number != floor(number))
        return false;
    int64_t whole = (int64_t)number;
    if (whole < min || whole > max)
        return false;
    if (type_of(item_of(value)) == cJSON_Number) {
        *ret_number = whole;
        return true;
    }
    /* 2^53 + 1 and 1.00000000000000000001 are near a whole double without being it. */
    char near[FL_JSON_NUMBER_ROOM], room[FL_JSON_NUMBER_ROOM];
    snprintf(near, sizeof(near), "%" PRId64, whole);
    if (!fl_number_equal(fl_span_str(near), fl_json_number_text(value, room)))
        return false;
    *ret_number = whole;
    return true;
}

/* Making. */

/* As cJSON's own, which asks the same hooks; a call less for each. */
static cJSON *new_item(int type)
{
    cJSON *item = fl_region_allocate(sizeof(*item));
    if (item != NULL)
        *item = (cJSON){.type = type};
    return item;
}

static char *copy_text(struct fl_span text)
{
    if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)
        return NULL;
    char *copy = text.len < SIZE_MAX ? fl_region_allocate(text.len + 1) : NULL;
    if (copy == NULL)
        return NULL;
    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return copy;
}

struct fl_json *fl_json_new_null(void)
{
    return value_of(new_item(cJSON_NULL));
}

struct fl_json *fl_json_new_bool(bool value)
{
    return value_of(new_item(value ? cJSON_True : cJSON_False));
}

static struct fl_json *new_with_text(int type, struct fl_span text, double number)
{
    char *copy = copy_text(text);
    cJSON *item = copy != NULL ? new_item(type) : NULL;
    if (item == NULL) {
        fl_region_release(copy);
        return NULL;
    }
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
    return value_of(new_item(cJSON_Array));
}

struct fl_json *fl_json_new_object(void)
{
    return value_of(new_item(cJSON_Object));
}

/* As cJSON_AddItemToArray, a call less. */
static void link_last(cJSON *container, cJSON *item)
{
    cJSON *first = container->child;
    assert(!is_shared(container));
    item->next = NULL;
    item->prev = first != NULL ? first->prev : item;
    if (first == NULL) {
        container->child = item;
        return;
    }
    first->prev->next = item;
    first->prev = item;
}

/* Without children. */
static cJSON *copy_alone(const cJSON *item)
{
    cJSON *copy = new_item(type_of(item));
    if (copy == NULL)
        return NULL;
    copy->valueint = item->valueint;
    copy->valuedouble = item->valuedouble;
    if (item->valuestring != NULL)
        copy->valuestring = copy_text(fl_span_str(item->valuestring));
    if (item->string != NULL)
        copy->string = copy_text(fl_span_str(item->string));
    if ((copy->valuestring != NULL) == (item->valuestring != NULL) && (copy->string != NULL) == (item->string != NULL))
        return copy;
    cJSON_Delete(copy);
    return NULL;
}

static cJSON *copy_item(const cJSON *item, unsigned depth)
{
    if (depth > FL_JSON_DEPTH_MAX)
        return NULL;
    cJSON *copy = copy_alone(item);
    for (const cJSON *child = item->child; copy != NULL && child != NULL; child = child->next) {
        cJSON *inner = copy_item(child, depth + (child->child != NULL));
        if (inner == NULL) {
            fl_json_free(value_of(copy));
            return NULL;
        }
        link_last(copy, inner);
    }
    return copy;
}

static void drop_name(cJSON *item)
{
    if ((item->type & cJSON_StringIsConst) == 0)
        fl_region_release(item->string);
    item->type &= ~cJSON_StringIsConst;
    item->string = NULL;
}

struct fl_json *fl_json_copy(const struct fl_json *value)
{
    cJSON *copy = value != NULL ? copy_item(item_of(value), 1) : NULL;
    if (copy != NULL)
        drop_name(copy);
    return value_of(copy);
}

/* Sharing. */

static cJSON *share_item(const cJSON *item)
{
    cJSON *shared = new_item(0);
    if (shared == NULL)
        return NULL;
    *shared = *item;
    shared->next = shared->prev = NULL;
    shared->type |= cJSON_IsReference | cJSON_StringIsConst;
    return shared;
}

struct fl_json *fl_json_share(const struct fl_json *value)
{
    cJSON *shared = value != NULL ? share_item(item_of(value)) : NULL;
    if (shared != NULL)
        shared->string = NULL;
    return value_of(shared);
}

int fl_json_unshare(struct fl_json *value)
{
    cJSON *item = item_of(value), list = {.type = cJSON_Array};
    if (!is_shared(item) || (!fl_json_is(value, FL_JSON_ARRAY) && !fl_json_is(value, FL_JSON_OBJECT)))
        return 0;
    for (const cJSON *child = item->child; child != NULL; child = child->next) {
        cJSON *shared = share_item(child);
        if (shared == NULL) {
            fl_json_free(value_of(list.child));
            return -ENOMEM;
        }
        link_last(&list, shared);
    }
    item->child = list.child;
    item->type &= ~cJSON_IsReference;
    return 0;
}

bool fl_json_identical(const struct fl_json *a, const struct fl_json *b)
{
    const cJSON *left = item_of(a), *right = item_of(b);
    if (type_of(left) != type_of(right))
        return false;
    if (type_of(left) == cJSON_Number) /* both are whole and exact */
        return (int64_t)left->valuedouble == (int64_t)right->valuedouble;
    return (left->child != NULL && left->child == right->child) ||
           (left->valuestring != NULL && left->valuestring == right->valuestring);
}

bool fl_json_same_name(const struct fl_json *a, const struct fl_json *b)
{
    const char *left = item_of(a)->string, *right = item_of(b)->string;
    return left == right || (left != NULL && right != NULL && strcmp(left, right) == 0);
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
    char *copy = copy_text(name);
    if (copy == NULL)
        return drop(value, name.len > 0 && memchr(name.data, '\0', name.len) != NULL ? -EINVAL : -ENOMEM);
    drop_name(item_of(value));
    item_of(value)->string = copy;
    link_last(item_of(object), item_of(value));
    return 0;
}

int fl_json_set_span(struct fl_json *object, struct fl_span name, struct fl_json *value)
{
    cJSON *old = value != NULL ? item_of(fl_json_get_span(object, name)) : NULL;
    if (old == NULL)
        return fl_json_add(object, name, value);
    drop_name(item_of(value));
    item_of(value)->string = fl_take(old->string);
    item_of(value)->type |= old->type & cJSON_StringIsConst;
    /* cJSON frees the old item with its children, by recursion: it finds none. */
    assert(!is_shared(item_of(object)));
    struct fl_json *children = is_shared(old) ? NULL : value_of(fl_take(old->child));
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
    link_last(item_of(array), item_of(value));
    return 0;
}

/* cJSON_InsertItemInArray refuses every place but the first in Debian 12 (1.7.15-1+deb12u4), so: by hand. */
static void link_before(cJSON *array, cJSON *next, cJSON *item)
{
    assert(!is_shared(array));
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
    assert(!is_shared(item_of(container)));
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
