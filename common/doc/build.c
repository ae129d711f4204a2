#include "common/doc/build.h"

struct fl_json *fl_json_with(struct fl_json *object, const char *name, struct fl_json *value)
{
    if (object == NULL)
        return fl_json_free(value);
    return fl_json_set(object, name, value) < 0 ? fl_json_free(object) : object;
}

struct fl_json *fl_json_with_span(struct fl_json *object, const char *name, struct fl_span value)
{
    return value.len > 0 ? fl_json_with(object, name, fl_json_new_string(value)) : object;
}

struct fl_json *fl_json_and(struct fl_json *array, struct fl_json *value)
{
    if (array == NULL)
        return fl_json_free(value);
    return fl_json_append(array, value) < 0 ? fl_json_free(array) : array;
}

struct fl_json *fl_json_object_of(const char *name, struct fl_json *value)
{
    return fl_json_with(fl_json_new_object(), name, value);
}

struct fl_json *fl_json_array_of(struct fl_json *value)
{
    return fl_json_and(fl_json_new_array(), value);
}

struct fl_json *fl_json_text(const char *text)
{
    return fl_json_new_string(fl_span_str(text));
}
