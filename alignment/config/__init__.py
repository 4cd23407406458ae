"""Every option of every command, without anything heavy."""
