#include "webhook/keeper/heartbeat.h"

#include "common/base/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define HEARTBEAT_MAX   64
#define HEARTBEAT_AHEAD UINT64_C(86400000) /* a file that is good for longer is of another boot, or not ours */

int keeper_heartbeat_write(const char *path, uint64_t stale_at_ms, struct fl_err *err)
{
    char text[HEARTBEAT_MAX];
    int len = snprintf(text, sizeof(text), "%" PRIu64 "\n", stale_at_ms);
    return fl_file_write(path, fl_span_make(text, (size_t)len), 0644, false, err);
}

int keeper_heartbeat_check(const char *path, uint64_t now_ms, struct fl_err *err)
{
    struct fl_buf text;
    uint64_t stale_at_ms;
    fl_buf_init(&text, HEARTBEAT_MAX);
    int result = fl_buf_read_file(&text, path);
    struct fl_span line = fl_buf_span(&text);
    if (line.len > 0 && line.data[line.len - 1] == '\n')
        line.len--;
    if (result < 0)
        fl_err_errno(err, result, "%s", path);
    else if (!fl_span_to_u64(line, UINT64_MAX, &stale_at_ms) || stale_at_ms > now_ms + HEARTBEAT_AHEAD)
        result = fl_err_set(err, -EINVAL, "%s: not a heartbeat of this boot", path);
    else if (stale_at_ms <= now_ms)
        result = fl_err_set(err, -ESTALE, "%s: no heartbeat for %" PRIu64 " s longer than it may be", path,
                            (now_ms - stale_at_ms) / 1000);
    fl_buf_done(&text);
    return result;
}
