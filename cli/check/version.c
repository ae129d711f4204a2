#include "cli/check/version.h"

struct version {
    uint64_t parts[3];
};

static bool read(struct fl_span text, struct version *ret_version)
{
    if (text.len > 0 && text.data[0] == 'v')
        text = fl_span_from(text, 1);
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] == '-' || text.data[i] == '+')
            text.len = i;
    for (size_t i = 0; i < 3; i++) {
        struct fl_span part;
        if (!fl_span_split(&text, '.', &part) || !fl_span_to_u64(part, UINT32_MAX, &ret_version->parts[i]))
            return false;
    }
    return text.data == NULL;
}

enum cli_skew cli_version_skew(struct fl_span a, struct fl_span b)
{
    struct version one, other;
    if (fl_span_eq(a, b) && a.len > 0)
        return CLI_SKEW_NONE;
    if (!read(a, &one) || !read(b, &other))
        return CLI_SKEW_UNKNOWN;
    if (one.parts[0] != other.parts[0])
        return CLI_SKEW_TOO_FAR;
    uint64_t low = one.parts[1] < other.parts[1] ? one.parts[1] : other.parts[1];
    uint64_t high = one.parts[1] < other.parts[1] ? other.parts[1] : one.parts[1];
    if (high - low > 1)
        return CLI_SKEW_TOO_FAR;
    return high != low ? CLI_SKEW_MINOR : CLI_SKEW_PATCH;
}
