//! The live picture: bars of flows and of new connections per backend, notes below. Takes no keys, so that
//! ctrl-C stays a signal and the namespaces are removed.

use std::io::{Stdout, stdout};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style};
use ratatui::text::Line;
use ratatui::widgets::{Bar, BarChart, BarGroup, Block, Gauge, Paragraph};
use ratatui::{Frame, Terminal};

use super::screen::{Picture, Row};

pub struct Tui {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    length: Duration,
    notes: Vec<String>,
}

impl Tui {
    pub fn open(length: Duration) -> std::io::Result<Self> {
        let terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        execute!(stdout(), EnterAlternateScreen, cursor::Hide)?;
        Ok(Self {
            terminal,
            length,
            notes: Vec::new(),
        })
    }

    pub fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }

    pub fn draw(&mut self, picture: &Picture) {
        let (length, notes) = (self.length, &self.notes);
        let _ = self.terminal.draw(|frame| paint(frame, picture, length, notes));
    }
}

impl Drop for Tui {
    fn drop(&mut self) {
        let _ = execute!(stdout(), LeaveAlternateScreen, cursor::Show);
        for note in &self.notes {
            println!("{note}");
        }
    }
}

fn paint(frame: &mut Frame<'_>, picture: &Picture, length: Duration, notes: &[String]) {
    let [head, flows, fresh, foot] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Fill(2),
        Constraint::Fill(2),
        Constraint::Length(9),
    ])
    .areas(frame.area());
    let done = (picture.elapsed.as_secs_f64() / length.as_secs_f64()).clamp(0.0, 1.0);
    let title = format!(
        " Maglane, mode {}: clients -> router -> balancer -> backends ",
        picture.mode
    );
    frame.render_widget(
        Gauge::default().block(Block::bordered().title(title)).ratio(done),
        head,
    );
    frame.render_widget(
        bars(
            " HTTP flows held open (they stay where they are) ",
            picture,
            |r| r.flows,
        ),
        flows,
    );
    frame.render_widget(bars(" new connections so far ", picture, |r| r.fresh), fresh);
    let mut lines = vec![Line::from(format!(
        "{} requests  {} failures  p99 {} us  spread max/mean {:.3}",
        picture.requests, picture.failures, picture.p99_us, picture.spread
    ))];
    lines.extend(
        notes
            .iter()
            .rev()
            .take(6)
            .rev()
            .map(|note| Line::from(note.as_str())),
    );
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(" what happens ")),
        foot,
    );
}

fn bars<'a>(title: &'a str, picture: &'a Picture, value: fn(&Row) -> u64) -> BarChart<'a> {
    let all: Vec<Bar<'a>> = picture
        .rows
        .iter()
        .map(|row| {
            let colour = if row.draining { Color::Yellow } else { Color::Green };
            let label = if row.draining {
                format!("{} drains", row.name)
            } else {
                row.name.clone()
            };
            Bar::default()
                .value(value(row))
                .label(Line::from(label))
                .style(Style::default().fg(colour))
        })
        .collect();
    BarChart::default()
        .block(Block::bordered().title(title))
        .bar_width(12)
        .bar_gap(3)
        .data(BarGroup::default().bars(&all))
}
