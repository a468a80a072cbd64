#include "harness.h"

#include <assert.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

void bench_series_add(struct bench_series *series, double subject, double yardstick)
{
    assert(series->count < BENCH_ROUNDS_MAX);
    series->subject[series->count] = subject;
    series->yardstick[series->count] = yardstick;
    series->count++;
}

static int compare_doubles(const void *a, const void *b)
{
    const double *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

double bench_median(double *samples, unsigned count)
{
    assert(count > 0);
    qsort(samples, count, sizeof(*samples), compare_doubles);
    return count % 2 == 1 ? samples[count / 2] : (samples[count / 2 - 1] + samples[count / 2]) / 2;
}

void bench_row_measure(struct bench_row *row, const struct bench_series *series)
{
    struct bench_series sorted = *series;
    double ratios[BENCH_ROUNDS_MAX];
    for (unsigned i = 0; i < series->count; i++) {
        ratios[i] = series->subject[i] / series->yardstick[i];
    }
    row->value = bench_median(sorted.subject, series->count);
    row->yardstick = BENCH_NONE;
    row->ratio = BENCH_NONE;
    if (row->yardstick_name != NULL) {
        row->yardstick = bench_median(sorted.yardstick, series->count);
        row->ratio = bench_median(ratios, series->count);
    }
}

/* ---- the table ---- */

/* Four significant digits at least, and no more digits behind the point than that takes. */
static void format_number(char *out, size_t size, double number)
{
    double magnitude = fabs(number);
    if (isnan(number)) {
        snprintf(out, size, "-");
    } else if (magnitude >= 1000) {
        snprintf(out, size, "%.0f", number);
    } else if (magnitude >= 100) {
        snprintf(out, size, "%.1f", number);
    } else if (magnitude >= 1) {
        snprintf(out, size, "%.2f", number);
    } else {
        snprintf(out, size, "%.4f", number);
    }
}

static void format_goal(char *out, size_t size, const struct bench_row *row)
{
    const struct bench_goal *goal = &row->goal;
    bool met = true;
    size_t used = 0;
    out[0] = '\0';
    if (goal->ratio_at_most > 0) {
        used += (size_t)snprintf(out + used, size - used, "<= %.2f x ", goal->ratio_at_most);
        met = met && row->ratio <= goal->ratio_at_most;
    }
    if (goal->value_at_most > 0) {
        used += (size_t)snprintf(
            out + used, size - used, "<= %.0f %s ", goal->value_at_most, row->unit);
        met = met && row->value <= goal->value_at_most;
    }
    if (goal->messages_below > 0) {
        used += (size_t)snprintf(out + used, size - used, "< %.1f msg ", goal->messages_below);
        met = met && row->messages_per_op < goal->messages_below;
    }
    if (goal->messages_exactly > 0) {
        used += (size_t)snprintf(out + used, size - used, "%.0f msg ", goal->messages_exactly);
        met = met && fabs(row->messages_per_op - goal->messages_exactly) < 1e-9;
    }
    assert(used < size);
    if (used > 0) {
        snprintf(out + used, size - used, "%s", met ? "ok" : "MISSED");
    }
}

void bench_print_header(const struct bench *bench)
{
    printf("%ld CPUs, medians of %u rounds%s\n\n",
           sysconf(_SC_NPROCESSORS_ONLN),
           bench->rounds,
           bench->quick ? ", a short look: times mean nothing" : "");
    printf("%-45s %10s %-9s %18s %7s  %-23s %s\n",
           "",
           "value",
           "unit",
           "yardstick",
           "ratio",
           "goal",
           "messages/op");
    fflush(stdout);
}

void bench_row_add(struct bench *bench, const struct bench_row *row)
{
    assert(bench->row_count < BENCH_ROWS_MAX);
    bench->rows[bench->row_count++] = *row;

    char value[32], yardstick[32], ratio[32], messages[32], goal[96], beside[64];
    format_number(value, sizeof(value), row->value);
    format_number(yardstick, sizeof(yardstick), row->yardstick);
    format_number(messages, sizeof(messages), row->messages_per_op);
    format_goal(goal, sizeof(goal), row);
    snprintf(ratio, sizeof(ratio), isnan(row->ratio) ? "-" : "%.2f x", row->ratio);
    snprintf(beside,
             sizeof(beside),
             "%s%s%s",
             row->yardstick_name != NULL ? row->yardstick_name : "",
             row->yardstick_name != NULL ? " " : "",
             yardstick);
    printf("%-45s %10s %-9s %18s %7s  %-23s %s\n",
           row->name,
           value,
           row->unit,
           beside,
           ratio,
           goal,
           messages);
    fflush(stdout);
}

/* ---- JSON ---- */

static void write_string(FILE *file, const char *text)
{
    putc('"', file);
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') {
            fprintf(file, "\\%c", *at);
        } else if (*at < 0x20) {
            fprintf(file, "\\u%04x", *at);
        } else {
            putc(*at, file);
        }
    }
    putc('"', file);
}

static void write_number(FILE *file, double number)
{
    /* JSON has no word for either; and the locale is never set, so the point is a point. */
    if (isnan(number) || isinf(number)) {
        fputs("null", file);
    } else {
        fprintf(file, "%.9g", number);
    }
}

bool bench_write_json(const struct bench *bench, FILE *file)
{
    fputs("[", file);
    for (size_t i = 0; i < bench->row_count; i++) {
        const struct bench_row *row = &bench->rows[i];
        fputs(i == 0 ? "\n  {\"name\": " : ",\n  {\"name\": ", file);
        write_string(file, row->name);
        fputs(", \"value\": ", file);
        write_number(file, row->value);
        fputs(", \"unit\": ", file);
        write_string(file, row->unit);
        fputs(", \"yardstick\": ", file);
        write_number(file, row->yardstick);
        fputs(", \"ratio\": ", file);
        write_number(file, row->ratio);
        fputs(", \"messages_per_op\": ", file);
        write_number(file, row->messages_per_op);
        fputs("}", file);
    }
    fputs("\n]\n", file);
    return fflush(file) == 0 && ferror(file) == 0;
}

/* ---- the rest ---- */

bool bench_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("hf-bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    va_end(arguments);
    return false;
}

/* Those that there were at the first call, which main() makes before there are threads. */
static cpu_set_t all_cpus(void)
{
    static cpu_set_t all;
    if (CPU_COUNT(&all) == 0 && sched_getaffinity(0, sizeof(all), &all) != 0) {
        CPU_SET(0, &all);
    }
    return all;
}

void bench_use_one_cpu(unsigned number)
{
    const cpu_set_t all = all_cpus();
    unsigned left = number % (unsigned)CPU_COUNT(&all);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &all) && left-- == 0) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof(one), &one);
            return;
        }
    }
}

void bench_use_all_cpus(void)
{
    const cpu_set_t all = all_cpus();
    sched_setaffinity(0, sizeof(all), &all);
}

uint64_t bench_thread_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}
