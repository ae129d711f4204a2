#include "tests/support/guard.h"

#include <assert.h>
#include <sys/mman.h>
#include <unistd.h>

void guard_init(struct guard *guard, struct fl_span input)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (input.len + page - 1) / page * page;
    guard->map_size = room + page;
    guard->map = mmap(NULL, guard->map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert(guard->map != MAP_FAILED);
    char *end = (char *)guard->map + room;
    int result = mprotect(end, page, PROT_NONE);
    assert(result == 0);
    (void)result;
    if (input.len > 0)
        memcpy(end - input.len, input.data, input.len);
    guard->span = fl_span_make(end - input.len, input.len);
}

void guard_done(struct guard *guard)
{
    munmap(guard->map, guard->map_size);
}
