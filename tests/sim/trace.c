/*
 * The last events of a schedule, and the report when a rule is broken. An event is kept as it
 * is and becomes text only when somebody reads it.
 */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *mode_name(uint8_t mode)
{
    static const char *const names[] = {"INVALID", "SHARED", "EXCLUSIVE"};
    return mode <= HF_EXCLUSIVE ? names[mode] : "?";
}

static void print_message(const struct wire_message *message)
{
    printf("%s h%d", wire_kind_name(message->kind), (int)message->id.object - 1);
    switch (message->kind) {
    case WIRE_ACQUIRE:
        printf(" seq %u %s%s%s%s, has version %llu",
               message->seq,
               mode_name(message->mode),
               (message->flags & WIRE_NOWAIT) != 0 ? " nowait" : "",
               (message->flags & WIRE_AHEAD) != 0 ? " ahead" : "",
               (message->flags & WIRE_REFERENCE) != 0 ? " reference" : "",
               (unsigned long long)message->version);
        break;
    case WIRE_RELEASE:
        printf(" grant %llu down to %s%s%s%s",
               (unsigned long long)message->grant,
               mode_name(message->mode),
               (message->flags & WIRE_VALUE) != 0 ? " with value" : "",
               (message->flags & WIRE_CLOSE) != 0 ? " close" : "",
               (message->flags & WIRE_IN_USE) != 0 ? " in use" : "");
        break;
    case WIRE_CANCEL:
        printf(" seq %u", message->seq);
        break;
    case WIRE_GRANT:
        if ((message->flags & WIRE_DENIED) != 0) {
            printf(" seq %u DENIED: %s", message->seq, wire_reason_text(message->reason));
        } else {
            printf(" seq %u grant %llu %s version %llu%s%s",
                   message->seq,
                   (unsigned long long)message->grant,
                   mode_name(message->mode),
                   (unsigned long long)message->version,
                   (message->flags & WIRE_VALUE) != 0 ? " with value" : "",
                   (message->flags & WIRE_OWNER_DIED) != 0 ? " owner-died" : "");
        }
        break;
    case WIRE_RECALL:
        printf(" grant %llu to %s, %u wait",
               (unsigned long long)message->grant,
               mode_name(message->mode),
               message->waiting);
        break;
    default:
        break;
    }
}

static void print_event(const struct trace_event *event)
{
    printf("# %5u  ", event->step);
    if (event->client >= 0) {
        printf("c%d", event->client);
    }
    if (event->thread >= 0) {
        printf(".t%d", event->thread);
    }
    printf(" %s ", event->what);
    if (event->is_message) {
        print_message(&event->message);
    } else {
        if (event->handle >= 0) {
            printf("h%d ", event->handle);
        }
        if (event->mode != HF_INVALID) {
            printf("%s ", mode_name(event->mode));
        }
        if (event->result != 0) {
            printf("(%d)", event->result);
        }
    }
    putchar('\n');
}

static struct trace_event *next_event(struct world *world, const char *what, int client)
{
    struct trace_event *event = &world->trace[world->trace_count++ % SIM_TRACE_EVENTS];
    event->step = world->step;
    event->what = what;
    event->client = (int8_t)client;
    return event;
}

void trace_note(struct world *world, const char *what, int client, int thread, int handle, int mode,
                int result)
{
    struct trace_event *event = next_event(world, what, client);
    event->thread = (int8_t)thread;
    event->handle = (int8_t)handle;
    event->mode = (uint8_t)mode;
    event->is_message = false;
    event->result = result;
    if (world->verbose) {
        print_event(event);
    }
}

void trace_message(struct world *world, const char *what, int client,
                   const struct wire_message *message)
{
    struct trace_event *event = next_event(world, what, client);
    event->thread = -1;
    event->is_message = true;
    event->message = *message;
    if (world->verbose) {
        print_event(event);
    }
}

static _Noreturn void report(struct world *world, const char *rule)
{
    printf("# broken: %s\n", rule);
    printf("# seed %llu, step %u\n", (unsigned long long)world->seed, world->step);
    if (!world->brief && !world->verbose) {
        uint32_t first = 0;
        if (world->trace_count > SIM_TRACE_EVENTS) {
            first = world->trace_count - SIM_TRACE_EVENTS;
        }
        printf("# the last %u events:\n", world->trace_count - first);
        for (uint32_t i = first; i < world->trace_count; i++) {
            print_event(&world->trace[i % SIM_TRACE_EVENTS]);
        }
    }
    printf(
        "# to see it again: %s --seed %llu -v\n", world->program, (unsigned long long)world->seed);
    fflush(stdout);
    _exit(1);
}

void sim_fail(struct world *world, const char *format, ...)
{
    char rule[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(rule, sizeof(rule), format, arguments);
    va_end(arguments);
    report(world, rule);
}

void sim_fail_assert(struct world *world)
{
    report(world, "an assert in the cores (see the standard error output)");
}
