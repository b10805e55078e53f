"""Schedules: background runs that begin at the times of cron lines, once however many processes there are."""
